"""The file that is parsed: where it is, what it was called, what it may cost."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actors.ingest.caps import Caps
from actors.ingest.parsed import Builder

HEAD_BYTES = 64 << 10  # how much of a file its kind is decided by


def _silent(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True, slots=True)
class Source:
    """`name` is the file's own name, for its ending only; `progress` is told pages done and in all."""

    path: Path
    name: str
    caps: Caps
    media_type: str | None = None
    password: str | None = None
    progress: Callable[[int, int], None] = _silent

    def head(self) -> bytes:
        """The first 64 KiB."""
        with self.path.open("rb") as file:
            return file.read(HEAD_BYTES)

    def read(self) -> bytes:
        """All of it; its size was checked before."""
        return self.path.read_bytes()

    @property
    def ending(self) -> str:
        """`.pdf` of `Report.PDF`."""
        return Path(self.name).suffix.lower()

    def builder(self) -> Builder:
        """An empty text under this file's caps."""
        return Builder(self.caps.text_chars_max)
