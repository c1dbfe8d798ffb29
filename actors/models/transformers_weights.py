"""What the engines over `transformers` share: the optional packages, a folder or a hub id, the device, and letting go of weights.

Nothing here or in those engines imports torch before one of them is made: the packages are an extra of its own."""

import ctypes
import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.models.hub_ids import hub_id_of
from perenne.errors import EngineFailed
from perenne.settings import ModelSettings

ENGINE = "transformers"
NOT_INSTALLED = "torch and transformers are not installed here; to have them: make transformers"
# Read by the packages as they are imported. Threads that spin while they wait starve on a shared CPU.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
_REASON_CHARS = 400  # of what the library said; it can say pages


@dataclass(frozen=True, slots=True)
class Packages:
    """The two modules, imported."""

    torch: Any
    transformers: Any


def import_packages() -> Packages:
    """Takes seconds the first time. EngineFailed says what to type where they are not installed."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        found = Packages(importlib.import_module("torch"), importlib.import_module("transformers"))
    except ModuleNotFoundError as error:
        if error.name in ("torch", "transformers"):
            raise EngineFailed(ENGINE, NOT_INSTALLED) from error
        raise EngineFailed(ENGINE, f"{error}; to have all it needs: make transformers") from error
    found.transformers.utils.logging.disable_progress_bar()  # nobody reads them in a log
    return found


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model is loaded from: a folder, for which no network is used, or a name on the hub, reached because it was configured
    (and not at all under HF_HUB_OFFLINE)."""

    name: str
    revision: str | None = None
    is_folder: bool = False

    @classmethod
    def of(cls, settings: ModelSettings, files: Sequence[Path]) -> "Origin":
        """`files`: a folder, or files that lie in one; empty for a hub id."""
        if files:
            folder = files[0].parent if files[0].is_file() else files[0]
            if not (folder / "config.json").is_file():
                raise EngineFailed(ENGINE, f"expected a folder with a config.json and weights, got {folder}")
            return cls(str(folder), None, True)
        found = hub_id_of(settings.model)
        if found is None:
            raise EngineFailed(ENGINE, f"expected a folder or a hub id such as owner/name, got {settings.model!r}")
        return cls(found["name"], found["revision"])

    @property
    def options(self) -> dict[str, Any]:
        """For every `from_pretrained`. Code that comes with a model is never run."""
        return {"revision": self.revision or "main", "local_files_only": self.is_folder, "trust_remote_code": False}

    def said(self, packages: Packages, file: str) -> dict[str, Any]:
        """A small JSON file that may lie beside the weights, empty where there is none."""
        path = packages.transformers.utils.cached_file(
            self.name, file, **self.options, _raise_exceptions_for_missing_entries=False
        )
        return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


@dataclass(slots=True)
class Loaded:
    """A model ready to be asked, with its tokenizer. `free` ends its use."""

    packages: Packages
    origin: Origin
    model: Any
    tokenizer: Any
    device: str

    def free(self) -> None:
        """Give the memory of the weights back to the machine, as far as nobody else holds on to them."""
        torch = self.packages.torch
        self.model = self.tokenizer = None
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
        if sys.platform == "linux":
            getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)(0)  # glibc keeps what was freed; musl has no such call


def load(
    kind: str,
    settings: ModelSettings,
    files: Sequence[Path],
    *,
    threads: int = 1,
    may_lack: Callable[[str], bool] = lambda _: False,
) -> Loaded:
    """Blocks while the weights load. `kind`: the class of `transformers` that loads them. `threads`: unless the settings
    say how many. `may_lack`: weights by name that this use
    does without. EngineFailed when anything else is missing: the library would fill it with random numbers."""
    packages = import_packages()
    torch, origin = packages.torch, Origin.of(settings, files)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(settings.threads or threads)
    try:
        tokenizer = packages.transformers.AutoTokenizer.from_pretrained(origin.name, **origin.options)
        model, told = getattr(packages.transformers, kind).from_pretrained(
            origin.name,
            use_safetensors=True,  # a pickle would run code as it is read
            dtype="auto" if device == "cuda" else torch.float32,  # half precision is slow on most CPUs
            output_loading_info=True,
            **origin.options,
        )
        model = model.to(device).eval()
    except Exception as error:  # OSError, ValueError, SafetensorError and what a hub's client raises
        words = " ".join(str(error).split())[:_REASON_CHARS]
        raise EngineFailed(ENGINE, f"{origin.name} could not be loaded: {words or type(error).__name__}") from error
    lacking = sorted(name for name in told["missing_keys"] if not may_lack(name))
    if lacking:
        more = "" if len(lacking) <= 3 else f" and {len(lacking) - 3} more"
        raise EngineFailed(ENGINE, f"{origin.name} is no model for this: it lacks the weights {', '.join(lacking[:3])}{more}")
    if not tokenizer.is_fast:
        raise EngineFailed(ENGINE, f"{origin.name} has no tokenizer.json")
    return Loaded(packages, origin, model, tokenizer, device)


def length_max(loaded: Loaded, *bounds: int | None) -> int:
    """How many tokens the model takes at once: the least of its own bounds and these."""
    own = (loaded.tokenizer.model_max_length, getattr(loaded.model.config, "max_position_embeddings", None))
    return min(bound for bound in (*own, *bounds) if bound)
