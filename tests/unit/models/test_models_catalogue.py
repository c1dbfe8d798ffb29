import re
from pathlib import Path

import pytest

from actors.models.catalogue import catalogue, entry_of, read_catalogue
from actors.models.engines import files_for
from perenne.errors import ConfigurationError, NotFound
from perenne.settings import CONFIGS, ModelSettings, load_settings


def test_every_entry_can_be_had_without_the_hub() -> None:
    for entry in catalogue().values():
        for file in entry.files:
            assert any(source.packages for source in file.sources), f"{entry.id}: {file.name} has no package"


def test_every_hash_is_whole_and_every_licence_is_named() -> None:
    for entry in catalogue().values():
        assert entry.licence in ("Apache-2.0", "MIT")
        for file in entry.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            for source in file.sources:
                if len(source.packages) == 1:  # a file in one piece is its own part
                    assert source.packages[0].sha256 == file.sha256


def test_an_embedder_says_its_dimension_and_a_language_model_its_context() -> None:
    for entry in catalogue().values():
        assert (entry.dimension is not None) == (entry.role == "embedding")
        assert (entry.layout is not None) == (entry.engine == "onnx")
        assert (entry.context_tokens is not None) == (entry.role == "language")


@pytest.mark.parametrize("profile", sorted(p.stem for p in CONFIGS.glob("*.yaml") if "profile:" in p.read_text()))
def test_every_profile_names_models_of_the_catalogue(profile: str, tmp_path: Path) -> None:
    settings = load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_PROFILE": profile})
    for model in (settings.language, settings.embedding):
        assert files_for(model, tmp_path)


def test_an_unknown_model_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(NotFound, match="smollm2"):
        entry_of("gpt-17")
    with pytest.raises(ConfigurationError, match="absolute path"):
        files_for(ModelSettings(engine="llama_cpp", model="gpt-17"), Path("/nowhere"))


def test_parts_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    hash_ = "0" * 64
    part = f"{{package: p, version: '1', member: m, size: 3, sha256: '{hash_}'}}"
    text = (
        "m: {role: language, engine: llama_cpp, title: t, licence: MIT, languages: [en], files: "
        f"[{{name: f, size: 4, sha256: '{hash_}', sources: [{{packages: [{part}]}}]}}]}}"
    )
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="add up to 4"):
        read_catalogue(tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text(text.replace("size: 4", "size: 3"))
    assert read_catalogue(tmp_path / "c.yaml")["m"].size == 3
