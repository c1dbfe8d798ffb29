"""Segments of SQLite's write-ahead log, on their way from the writer to the backups: how they are named, and what is in one.

The writer copies what was committed into HOME/store/log before it is overwritten; the keeper of backups takes it from there into its
repository. A name says all that is needed to know which segments follow each other and which moments they reach to."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = "log"  # below HOME/store, and in a repository
CURRENT = "current"  # a file that names the chain which the writer goes on with
LOOKED = "looked"  # its time: when the writer last saw that nothing was left to copy
LOST = "lost"  # why the last chain ended; gone once another begins
HEADER_BYTES = 32  # of the log; sqlite.org/fileformat2.html#walformat
FRAME_HEADER_BYTES = 24
SEGMENT_FRAMES = 1024  # in one segment at most: 4 MB of pages
_DIGEST_BYTES = 32
SEGMENT_MOST_BYTES = _DIGEST_BYTES + HEADER_BYTES + SEGMENT_FRAMES * (FRAME_HEADER_BYTES + 65_536)
CHAIN = re.compile(r"\d{8}T\d{9}-[0-9a-f]{8}")
_NAME = re.compile(
    rf"({CHAIN.pattern})[./](\d{{8}})-(begins|follows|reopened)-([0-9a-f]{{16}})-(\d{{9}})-(\d{{9}})-(\d{{15}})-(\d{{15}})"
)

How = Literal["begins", "follows", "reopened"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Frames `first` to `last` of one generation of the log: `salts` change when the log begins at its head again.

    `how`: it begins its chain; or follows the one before in the same generation or the next; or the database was closed between, whole and
    with nothing left in its log. `seq` and `at_ms`: the feed's head at its end, or one that is older (of a segment that ends amid a commit)."""

    chain: str
    number: int  # from 1
    how: How
    salts: str  # 16 hexadecimal digits
    first: int  # from 1
    last: int
    seq: int
    at_ms: int

    @property
    def _rest(self) -> str:
        return f"{self.number:08}-{self.how}-{self.salts}-{self.first:09}-{self.last:09}-{self.seq:015}-{self.at_ms:015}"

    @property
    def file_name(self) -> str:
        """In the writer's folder."""
        return f"{self.chain}.{self._rest}"

    @property
    def object_name(self) -> str:
        """In a repository."""
        return f"{FOLDER}/{self.chain}/{self._rest}"

    def __str__(self) -> str:
        return f"segment {self.number} of {self.chain}"


def segment_of(name: str) -> Segment | None:
    """The segment of that name, in either place; None for what is none."""
    found = _NAME.fullmatch(name.removeprefix(f"{FOLDER}/"))
    if found is None:
        return None
    chain, number, how, salts, first, last, seq, at_ms = found.groups()
    segment = Segment(
        chain=chain,
        number=int(number),
        how="begins" if how == "begins" else "follows" if how == "follows" else "reopened",
        salts=salts,
        first=int(first),
        last=int(last),
        seq=int(seq),
        at_ms=int(at_ms),
    )
    return segment if 1 <= segment.first <= segment.last and segment.number >= 1 else None


def next_salts(salts: str) -> str:
    """The first half of what the next generation has: SQLite adds one to it, and draws the other half by lot."""
    return f"{(int(salts[:8], 16) + 1) % (1 << 32):08x}"


@dataclass(frozen=True, slots=True)
class Content:
    """What a segment holds: the digest of the one before it (zeros for the first), the log's header, frames."""

    before: bytes
    header: bytes
    frames: bytes

    def packed(self) -> bytes:
        return self.before + self.header + self.frames


def begun() -> bytes:
    """What the first segment of a chain has for the digest of the one before."""
    return bytes(_DIGEST_BYTES)


def digest_of(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()


def page_bytes(header: bytes) -> int:
    """The page size that a log's header says; ValueError for no header of a log."""
    magic, size = int.from_bytes(header[:4]), int.from_bytes(header[8:12])
    if len(header) != HEADER_BYTES or magic not in (0x377F0682, 0x377F0683) or size & (size - 1) or not 512 <= size <= 65_536:
        raise ValueError("it is no header of a write-ahead log")
    return size


def content_of(segment: Segment, packed: bytes) -> Content:
    """ValueError, in words, for what can't be this segment's."""
    content = Content(
        packed[:_DIGEST_BYTES],
        packed[_DIGEST_BYTES : _DIGEST_BYTES + HEADER_BYTES],
        packed[_DIGEST_BYTES + HEADER_BYTES :],
    )
    frame = FRAME_HEADER_BYTES + page_bytes(content.header)
    if content.header[16:24].hex() != segment.salts:
        raise ValueError("its header is of another generation of the log")
    if len(content.frames) != (segment.last - segment.first + 1) * frame:
        raise ValueError(
            f"it holds {len(content.frames)} bytes of frames, expected {segment.last - segment.first + 1} of {frame}"
        )
    salts = content.header[16:24]
    if any(content.frames[at + 8 : at + 16] != salts for at in range(0, len(content.frames), frame)):
        raise ValueError("a frame of it is of another generation of the log")
    return content


def waiting(folder: Path) -> list[Segment]:
    """The segments in the writer's folder, chain by chain, each in its order."""
    try:
        found = [segment_of(path.name) for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted((each for each in found if each is not None), key=lambda each: (each.chain, each.number))
