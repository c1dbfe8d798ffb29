"""What is in a folder now, and what differs from what is known of it. Nothing here changes anything."""

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from perenne.messages.records import HeldFile

# Names that are never documents: hidden ones, and what programs leave while they work.
IGNORED = (".*", "~$*", "*~", "*.tmp", "*.part", "*.crdownload", "*.swp", "*.lock", "__pycache__", "node_modules", "lost+found")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Stamp:
    """What says that a file is the one that was hashed: size and the time of its last change."""

    size_bytes: int
    changed_ns: int


@dataclass(slots=True)
class Listing:
    """Files by path within the folder. `unread`: folders that could not be looked into, whose files may be there still."""

    files: dict[str, Stamp] = field(default_factory=dict[str, Stamp])
    unread: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Difference:
    """Paths to look at more closely, and documents whose file is gone."""

    changed: tuple[str, ...]
    gone: tuple[HeldFile, ...]


def is_ignored(path: str, patterns: Iterable[str]) -> bool:
    """Whether a name, or the whole path within the folder, matches a pattern."""
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, each) or fnmatch.fnmatchcase(path, each) for each in patterns)


def list_folder(root: Path, ignore: tuple[str, ...]) -> Listing:
    """Regular files below `root`, links not followed. OSError when the folder itself is not there or can't be read."""
    patterns = (*IGNORED, *ignore)
    found = Listing()
    with os.scandir(root):
        pass  # the root's own fault is the caller's to hear; one of a folder below is noted
    waiting = [""]
    while waiting:
        within = waiting.pop()
        try:
            with os.scandir(root / within) as entries:
                for entry in entries:
                    path = f"{within}/{entry.name}" if within else entry.name
                    if is_ignored(path, patterns):
                        continue
                    facts = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(facts.st_mode):
                        waiting.append(path)
                    elif stat.S_ISREG(facts.st_mode):
                        found.files[path] = Stamp(facts.st_size, facts.st_mtime_ns)
        except OSError:
            found.unread.append(within)
    return found


def _above(path: str) -> Iterable[str]:
    """The path and each folder, or archive, that it is in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def compare(listing: Listing, seen: dict[str, Stamp], held: Iterable[HeldFile]) -> Difference:
    """`seen`: the stamps under which files were found to be as held. A document within a file (of an archive) is gone with it."""
    known = {file.path: file for file in held}
    changed = tuple(path for path, stamp in sorted(listing.files.items()) if seen.get(path) != stamp or path not in known)
    unread = set(listing.unread)
    gone: list[HeldFile] = []
    for path, file in known.items():
        if not any(above in listing.files or above in unread for above in _above(path)) and "" not in unread:
            gone.append(file)
    return Difference(changed, tuple(gone))


def hash_of(path: Path) -> str:
    """SHA-256 of a file. OSError when it can't be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
