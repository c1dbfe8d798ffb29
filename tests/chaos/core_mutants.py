"""Cores that break the promise on purpose, by which the checks are shown to fail. Applied in the process of one workload only."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from actors.blobs import layout
from actors.index import durable, snapshot
from actors.store import database


def _synchronous(level: str) -> Callable[[], None]:
    """A database that does not flush its log at each commit."""

    def break_it() -> None:
        connect = database.connect_sqlite

        def weaker(path: Path, *, create: bool, pragmas: tuple[str, ...]) -> Any:
            return connect(
                path, create=create, pragmas=tuple(p.replace("synchronous=FULL", f"synchronous={level}") for p in pragmas)
            )

        database.connect_sqlite = weaker

    return break_it


@contextlib.contextmanager
def _unsynced_file(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        yield file


def _snapshot_without_fsync() -> None:
    """The files of a snapshot, and its manifest, are renamed into place unsynced."""
    durable.new_file = snapshot.new_file = _unsynced_file  # type: ignore[assignment]


def _no_sync(_: Path) -> None:
    return None


def _snapshot_without_folder_fsync() -> None:
    durable.sync_folder = snapshot.sync_folder = _no_sync  # type: ignore[attr-defined]


def _blob_without_folder_fsync() -> None:
    layout.sync_folder = _no_sync


MUTANTS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "synchronous=OFF": _synchronous("OFF"),
    "synchronous=NORMAL": _synchronous("NORMAL"),
    "snapshot without fsync": _snapshot_without_fsync,
    "snapshot without folder fsync": _snapshot_without_folder_fsync,
    "blob without folder fsync": _blob_without_folder_fsync,
}
