"""What a backup is: the manifest, its two parts in one object, and the checks that a damaged or hostile one doesn't pass."""

import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from actors.backups.pieces import ID, PIECE_MOST_BYTES, compress, expand
from actors.backups.sealing import Seal
from perenne.errors import BackupDamaged, InvalidRequest

FOLDER = "manifests"
HEAD_MOST_BYTES = 65_536  # a list reads no more of a manifest than this
BODY_MOST_BYTES = 128 << 20  # of plain JSON: a million files of one piece
OBJECT_MOST_BYTES = HEAD_MOST_BYTES + BODY_MOST_BYTES
INLINE_PIECES = 16  # a file of more pieces keeps their list in pieces of its own, so that a manifest stays small
_ID = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{8}")
_HASH = re.compile(r"[0-9a-f]{64}")
_START = b"PRNB1\n"
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Cut:
    """What a backup is of; the repository keeps it and doesn't look at it."""

    kind: str  # such as "scheduled", "manual", "before-migration"
    version: str = ""  # ours
    database: str = ""  # sqlite or postgresql
    revision: str = ""  # the database's
    seq: int = 0  # how far the feed had come
    origin: str = ""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])  # rows, by table or entity
    notes: Mapping[str, str] = field(default_factory=dict[str, str])  # anything else, 16 KB at most


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file in a backup."""

    name: str  # relative, with `/`
    size: int
    sha256: str  # of all its bytes
    pieces: tuple[str, ...]  # ids, in order; with `listed` of the pieces that hold the list of ids, 32 bytes each
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """A backup without its files: what a list shows."""

    id: str  # sorts by `created_at`
    ordinal: int  # one more than any before it: the order in which they were made, whatever the clock said
    created_at: float
    cut: Cut
    files: int
    bytes_total: int  # of all files
    bytes_new: int  # of the pieces that were not there yet
    bytes_stored: int  # what those take in the target
    took_s: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup."""

    summary: Summary
    entries: tuple[FileEntry, ...]

    @property
    def id(self) -> str:
        return self.summary.id

    @property
    def cut(self) -> Cut:
        return self.summary.cut

    def entry(self, name: str) -> FileEntry | None:
        """The file of that name, None where it has none."""
        return next((entry for entry in self.entries if entry.name == name), None)


def object_name(manifest_id: str) -> str:
    """Where a manifest lies. InvalidRequest for what is no manifest's id."""
    if not _ID.fullmatch(manifest_id):
        raise InvalidRequest(f"expected a backup's id such as 20261126T083000123Z-0a1b2c3d, got {manifest_id!r}", "id")
    return f"{FOLDER}/{manifest_id}"


def id_of(name: str) -> str | None:
    """The id of the manifest that lies there; None for what is no manifest."""
    folder, _, manifest_id = name.rpartition("/")
    return manifest_id if folder == FOLDER and _ID.fullmatch(manifest_id) else None


def check_name(name: str) -> str:
    """A file's name in a backup. InvalidRequest for one that could lead out of a folder that it is restored into."""
    parts = name.split("/")
    if (
        not name
        or len(name.encode(errors="replace")) > 1024
        or any(part in ("", ".", "..") or len(part.encode(errors="replace")) > 255 for part in parts)
        or any(character < " " or character in "\\:\x7f" or "\ud800" <= character <= "\udfff" for character in name)
    ):
        raise InvalidRequest(f"expected a relative file name such as blobs/ab/cdef, got {name[:200]!r}", "name")
    return name


def encode(manifest: Manifest, seal: Seal) -> bytes:
    """The manifest as one object: a head that a list can read alone, and the files. InvalidRequest when a part is too large."""
    rows = [[e.name, e.size, e.sha256, e.listed, list(e.pieces)] for e in manifest.entries]
    plain = orjson.dumps(rows)
    if len(plain) > BODY_MOST_BYTES:
        raise InvalidRequest(f"the manifest has {len(plain)} bytes of file names and pieces; the limit is {BODY_MOST_BYTES}")
    body = seal.close(f"manifest {manifest.id} files", compress(plain))
    about = {**asdict(manifest.summary), "body_sha256": hashlib.sha256(body).hexdigest()}
    head = seal.close(f"manifest {manifest.id}", orjson.dumps(about))
    if len(_START) + _LENGTH.size + len(head) > HEAD_MOST_BYTES:
        raise InvalidRequest(f"the manifest's counts and notes have {len(head)} bytes; the limit is {HEAD_MOST_BYTES}", "notes")
    return _START + _LENGTH.pack(len(head)) + head + body


def decode_summary(manifest_id: str, data: bytes, seal: Seal) -> Summary:
    """Out of the first `HEAD_MOST_BYTES` of an object. BackupDamaged."""
    return _head(manifest_id, data, seal)[0]


def decode(manifest_id: str, data: bytes, seal: Seal) -> Manifest:
    """BackupDamaged for anything that isn't what `encode` makes of a sound manifest."""
    summary, about, start = _head(manifest_id, data, seal)
    what, body = object_name(manifest_id), data[start:]
    if about.get("body_sha256") != hashlib.sha256(body).hexdigest():
        raise BackupDamaged(what, "its list of files is not the one it was written with")
    plain = expand(seal.open(f"manifest {manifest_id} files", body), BODY_MOST_BYTES, what)
    try:
        rows: Any = orjson.loads(plain)
        entries = tuple(_entry(row) for row in rows)
    except (orjson.JSONDecodeError, TypeError, ValueError, InvalidRequest) as error:
        raise BackupDamaged(what, f"its list of files can't be read: {error}") from None
    if len({entry.name for entry in entries}) != len(entries):
        raise BackupDamaged(what, "it names a file twice")
    if (summary.files, summary.bytes_total) != (len(entries), sum(entry.size for entry in entries)):
        raise BackupDamaged(what, "it says another number of files or bytes than it lists")
    return Manifest(summary, entries)


def _head(manifest_id: str, data: bytes, seal: Seal) -> tuple[Summary, dict[str, Any], int]:
    what, at = object_name(manifest_id), len(_START) + _LENGTH.size
    if len(data) < at or not data.startswith(_START):
        raise BackupDamaged(what, "it is cut short or no manifest")
    (length,) = _LENGTH.unpack(data[len(_START) : at])
    if at + length > min(len(data), HEAD_MOST_BYTES):
        raise BackupDamaged(what, "it is cut short")
    try:
        about: dict[str, Any] = orjson.loads(seal.open(f"manifest {manifest_id}", data[at : at + length]))
        cut = about["cut"]
        summary = Summary(
            id=_is(str, about["id"]),
            ordinal=_count(about["ordinal"]),
            created_at=_number(about["created_at"]),
            cut=Cut(
                **{name: _is(str, cut[name]) for name in ("kind", "version", "database", "revision", "origin")},
                seq=_count(cut["seq"]),
                counts={_is(str, name): _count(count) for name, count in cut["counts"].items()},
                notes={_is(str, name): _is(str, note) for name, note in cut["notes"].items()},
            ),
            **{name: _count(about[name]) for name in ("files", "bytes_total", "bytes_new", "bytes_stored")},
            took_s=_number(about["took_s"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackupDamaged(what, f"it can't be read: {error!r}") from None
    if summary.id != manifest_id:
        raise BackupDamaged(what, f"it is the manifest of {summary.id!r}")
    return summary, about, at + length


def _entry(row: Any) -> FileEntry:
    name, size, sha256, listed, pieces = row
    entry = FileEntry(
        check_name(_is(str, name)), _count(size), _is(str, sha256), tuple(_is(str, p) for p in pieces), _is(bool, listed)
    )
    if not _HASH.fullmatch(entry.sha256) or not all(ID.fullmatch(piece) for piece in entry.pieces):
        raise ValueError(f"{name[:200]!r} has a hash that is none")
    if not entry.listed and not (len(entry.pieces) <= entry.size <= len(entry.pieces) * PIECE_MOST_BYTES):
        raise ValueError(f"{name[:200]!r} can't have {entry.size} bytes in {len(entry.pieces)} pieces")
    return entry


def _is(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"expected a {kind.__name__}, got {type(value).__name__}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"expected a whole number of 0 or more, got {str(value)[:40]}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not -1e11 < value < 1e11:
        raise ValueError(f"expected a number, got {str(value)[:40]}")
    return float(value)
