"""A disk that loses its power, from a record of what a process did to it.

Only what was flushed is sure: a file's bytes by fsync of the file, a name by fsync of its folder. Each write and each change of a name
since may be there or not, in any choice of them, and a write sector by sector. That is more than most file systems do to one, and no
more than POSIX lets them.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512
# How the record has to be made for `replay`.
TRACED = (
    *("openat", "close", "lseek", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "sendto"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"),
)
OPTIONS = ("-y", "-xx", "-s", "4000000", "-e", f"trace={','.join(TRACED)}")
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")


class NotUnderstood(Exception):
    """A record that holds what this disk knows nothing of."""


@dataclass(slots=True)
class Write:
    """Bytes at a place, or (`data` is None) a new length. Sure once the file was flushed."""

    at: int
    data: bytes | None
    sure: bool = False


@dataclass(slots=True)
class File:
    content: bytes = b""  # before the record began, all of it sure
    writes: list[Write] = field(default_factory=list)


@dataclass(slots=True)
class Naming:
    """A name given (`file`) and a name taken away (`gone`); a rename is both, at once."""

    folder: str
    name: str | None
    file: File | None
    gone: str | None
    sure: bool = False


class Disk:
    """What the process sees, and what of it is sure. Folders are there from their making on: a lost one takes its names with it."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.before = {str(path): File(path.read_bytes()) for path in root.rglob("*") if path.is_file()}
        self.seen = dict(self.before)
        self.namings: list[Naming] = []
        self.files = list(self.before.values())
        self.folders: list[str] = []
        self.acknowledged: list[str] = []
        self.changes = 0

    def inside(self, path: str) -> bool:
        return path.startswith(self.root + "/")

    def create(self, path: str) -> None:
        self.seen[path] = made = File()
        self.files.append(made)
        self._name(Naming(path.rpartition("/")[0], path, made, None))

    def write(self, path: str, at: int, data: bytes | None) -> None:
        if path in self.seen:  # what was unlinked is of no interest
            self.seen[path].writes.append(Write(at, data))
            self.changes += 1

    def rename(self, source: str, target: str) -> None:
        self.seen[target] = self.seen.pop(source)
        self._name(Naming(target.rpartition("/")[0], target, self.seen[target], source))

    def unlink(self, path: str) -> None:
        self.seen.pop(path)
        self._name(Naming(path.rpartition("/")[0], None, None, path))

    def _name(self, naming: Naming) -> None:
        self.namings.append(naming)
        self.changes += 1

    def flush(self, path: str) -> None:
        for each in self.seen[path].writes if path in self.seen else self._named_in(path):
            each.sure = True
        self.changes += 1

    def _named_in(self, folder: str) -> list[Naming]:
        return [naming for naming in self.namings if naming.folder == folder]

    def leave(self, folder: Path, chance: random.Random, kept: float) -> None:
        """Write into an empty folder what the disk may hold after the cut: each unsure thing is there with the chance `kept`."""
        names = dict(self.before)
        for naming in self.namings:
            if naming.sure or chance.random() < kept:
                if naming.gone is not None:
                    names.pop(naming.gone, None)
                if naming.name is not None and naming.file is not None:
                    names[naming.name] = naming.file
        for made in self.folders:
            (folder / made[len(self.root) + 1 :]).mkdir(parents=True, exist_ok=True)
        for path, file in names.items():
            target = folder / path[len(self.root) + 1 :]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_content(file, chance, kept))


def _content(file: File, chance: random.Random, kept: float) -> bytes:
    content = bytearray(file.content)
    for write in file.writes:
        whole = write.sure or kept == 1.0
        if write.data is None:
            if whole or chance.random() < kept:
                content[write.at :] = bytes(max(0, write.at - len(content)))
            continue
        if not whole and chance.random() < 0.5:  # all of it or nothing, half of the times
            if chance.random() >= kept:
                continue
            whole = True
        for begin, end in ((0, len(write.data)),) if whole else _sectors(write.at, len(write.data)):
            if whole or chance.random() < kept:
                content.extend(bytes(max(0, write.at + begin - len(content))))
                content[write.at + begin : write.at + end] = write.data[begin:end]
    return bytes(content)


def _sectors(at: int, length: int) -> Iterator[tuple[int, int]]:
    """The pieces of a write that lie in one sector each."""
    begin = 0
    while begin < length:
        end = min(length, begin + SECTOR_BYTES - (at + begin) % SECTOR_BYTES)
        yield begin, end
        begin = end


# The record


def _bytes(quoted: str) -> bytes:
    return bytes.fromhex(quoted.replace("\\x", ""))


def _texts(arguments: str) -> list[str]:
    return [_bytes(each).decode(errors="surrogateescape") for each in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)]


def _path_of_descriptor(arguments: str) -> str:
    found = re.match(r"(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2}|[^>])*)>", arguments)
    if found is None:
        return ""
    text = found.group(1)
    return _bytes(text).decode() if text.startswith("\\x") else text


def whole_calls(trace: str) -> Iterator[tuple[str, str]]:
    """Thread and call, with what was cut in two put together at its end."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        matched = _LINE.match(line)
        if matched is None:
            continue
        thread, text = matched.groups()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>").rstrip()
        elif (resumed := re.match(r"<\.\.\. \w+ resumed>(.*)$", text)) is not None:
            yield thread, begun.pop(thread) + resumed.group(1)
        else:
            yield thread, text


def replay(disk: Disk, trace: str) -> Iterator[int]:
    """Do to the disk what the record says, a change at a time; how many there were."""
    places: dict[str, int] = {}  # where the next write() of a descriptor goes
    for _, text in whole_calls(trace):
        matched = _CALL.match(text)
        if matched is None or int(matched.group(3)) < 0:
            continue
        before = disk.changes
        _do(disk, places, matched.group(1), matched.group(2), int(matched.group(3)), text)
        if disk.changes != before:
            yield disk.changes


def _do(disk: Disk, places: dict[str, int], call: str, arguments: str, result: int, text: str) -> None:
    descriptor, path = arguments.split("<", 1)[0].split(",", 1)[0], _path_of_descriptor(arguments)
    if call == "sendto":
        (said, *_) = _texts(arguments)
        if said.startswith("ok "):
            disk.acknowledged.append(said.removeprefix("ok "))
    elif call == "openat":
        opened = _texts(arguments)[0]
        if disk.inside(opened):
            places[str(result)] = 0
            if "O_APPEND" in arguments:
                raise NotUnderstood(text[:200])
            if "O_CREAT" in arguments and opened not in disk.seen:
                disk.create(opened)
            elif "O_TRUNC" in arguments:
                disk.write(opened, 0, None)
    elif call in ("rename", "renameat", "renameat2"):
        source, target = _texts(arguments)
        if disk.inside(source) and source in disk.seen:
            disk.rename(source, target)
    elif call in ("unlink", "unlinkat"):
        if disk.inside(gone := _texts(arguments)[0]) and gone in disk.seen:
            disk.unlink(gone)
    elif call in ("mkdir", "mkdirat"):
        if disk.inside(made := _texts(arguments)[0]):
            disk.folders.append(made)
    elif disk.inside(path):
        if call == "lseek":
            places[descriptor] = result
        elif call == "write":
            disk.write(path, places[descriptor], _bytes(_quoted(arguments))[:result])
            places[descriptor] += result
        elif call == "pwrite64":
            disk.write(path, int(arguments.rpartition(", ")[2]), _bytes(_quoted(arguments))[:result])
        elif call == "ftruncate":
            disk.write(path, int(arguments.rpartition(", ")[2]), None)
        elif call in ("fsync", "fdatasync"):
            disk.flush(path)


def _quoted(arguments: str) -> str:
    return arguments.split('"')[1]
