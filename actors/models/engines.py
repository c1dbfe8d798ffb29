"""From settings to an engine: which weights it needs, and how it is made once they are there."""

from pathlib import Path

from actors.models.catalogue import ModelEntry, catalogue
from actors.models.hub_ids import hub_id_of
from actors.models.protocols import Embedder, LanguageModel, Reranker
from actors.models.weights import Weights
from perenne.errors import ConfigurationError, EngineFailed
from perenne.settings import ModelSettings


def is_remote(settings: ModelSettings) -> bool:
    """Whether no weights are needed here."""
    return settings.engine == "openai"


def entry_for(settings: ModelSettings) -> ModelEntry | None:
    """The catalogue's entry, None for a path or an endpoint."""
    return None if is_remote(settings) else catalogue().get(settings.model)


def files_for(settings: ModelSettings, models_dir: Path) -> tuple[Path, ...]:
    """The files that the engine is to load; none for a hub id, which the engine transformers loads by itself. ConfigurationError when
    the setting names neither an entry nor a path."""
    entry = entry_for(settings)
    if entry is not None:
        if entry.engine != settings.engine:
            raise ConfigurationError(f"model {entry.id!r} runs on the engine {entry.engine!r}, not on {settings.engine!r}")
        return Weights(entry, models_dir).paths
    path = Path(settings.model).expanduser()
    if path.is_absolute():
        return (path,)
    if settings.engine == "transformers" and hub_id_of(settings.model):
        return ()
    hub = ", a hub id such as owner/name" if settings.engine == "transformers" else ""
    raise ConfigurationError(f"model {settings.model!r}: expected an absolute path{hub} or one of {', '.join(catalogue())}")


def make_language(settings: ModelSettings, files: tuple[Path, ...]) -> LanguageModel:
    """Blocks while the weights load."""
    if settings.engine == "llama_cpp":
        from actors.models.llama_cpp import LlamaCpp

        if not files[0].is_file():
            raise EngineFailed("llama_cpp", f"there is no file {files[0]}")
        return LlamaCpp(files[0], settings)
    if settings.engine == "openai":
        from actors.models.openai_endpoint import OpenAILanguage

        return OpenAILanguage(settings)
    if settings.engine == "transformers":
        from actors.models.transformers_language import TransformersLanguage

        return TransformersLanguage(settings, files)
    raise ConfigurationError(f"language.engine: expected llama_cpp, transformers or openai, got {settings.engine!r}")


def make_embedder(settings: ModelSettings, files: tuple[Path, ...]) -> Embedder:
    """Blocks while the weights load."""
    if settings.engine == "openai":
        from actors.models.openai_endpoint import OpenAIEmbedder

        return OpenAIEmbedder(settings)
    if settings.engine == "transformers":
        from actors.models.transformers_embedder import TransformersEmbedder

        return TransformersEmbedder(settings, files)
    if settings.engine != "onnx":
        raise ConfigurationError(f"embedding.engine: expected onnx, transformers or openai, got {settings.engine!r}")
    from actors.models.onnx_embedder import OnnxEmbedder

    entry = entry_for(settings)
    if entry is None or entry.dimension is None or entry.layout is None:
        raise ConfigurationError(f"embedding.model {settings.model!r}: an embedder must be one of the catalogue's")
    return OnnxEmbedder(entry.id, entry.dimension, entry.layout, files, settings)


def make_reranker(settings: ModelSettings, files: tuple[Path, ...]) -> Reranker:
    """Blocks while the weights load."""
    if settings.engine != "transformers":
        raise ConfigurationError(f"reranking.engine: expected transformers, got {settings.engine!r}")
    from actors.models.transformers_reranker import TransformersReranker

    return TransformersReranker(settings, files)
