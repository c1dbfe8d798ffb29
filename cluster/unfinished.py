"""What a restore that died left in the home: completed or dropped by the next start. Loads nothing, for every start looks."""

import os
import shutil
from pathlib import Path

from perenne.settings import Settings

SCRATCH = "restoring"
CHECKED = "checked"  # a file in the scratch folder: all in it is as it was backed up
_DATABASE, _HOME = "database", "home"  # folders of a backup; see `actors.backups.contents`
_KEPT = "key-before-restore"


def is_placed(scratch: Path) -> bool:
    """Whether the database went from here to its place."""
    return (scratch / CHECKED).exists() and not any((scratch / _DATABASE).glob("*"))


def finish(settings: Settings) -> None:
    """Complete a restore whose database is in place, drop any other. Harmless when there is none."""
    scratch = settings.path(SCRATCH)
    if not scratch.exists():
        return
    if is_placed(scratch):
        own = scratch / _HOME
        if (own / "key").exists():
            _key_in_place(own / "key", settings.path("key"), settings.path(_KEPT))
        if (own / "config.yaml").exists() and not settings.path("config.yaml").exists():
            (own / "config.yaml").replace(settings.path("config.yaml"))
        sync_folder(Path(settings.home))
        shutil.rmtree(settings.path("index"), ignore_errors=True)  # of the old database; made anew from this one
        (scratch / CHECKED).unlink()
    shutil.rmtree(scratch, ignore_errors=True)


def _key_in_place(key: Path, place: Path, kept: Path) -> None:
    """The restored database knows the keys of its time alone."""
    if place.exists() and place.read_bytes() != key.read_bytes():
        place.replace(kept)
    key.replace(place)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
