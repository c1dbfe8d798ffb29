"""What a parser makes of a file: one text, and its blocks with page, heading path and character span."""

import errno
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from perenne.messages.records import Details, ReasonCode

BlockKind = Literal["paragraph", "heading", "lines"]  # `lines`: table rows, list items, code: each line stands alone

_HEADING_CHARS_MAX = 200  # a longer "heading" is a paragraph in a heading's dress
_CONTROLS = {c: " " for c in range(32) if chr(c) not in "\n\t"} | {0x7F: " ", 0xFEFF: " "}
_SURROGATE = re.compile("[\ud800-\udfff]")


class Refused(Exception):
    """The file itself can't be read: `code` and `details` say why for programs, the message in a sentence for its owner, and
    `result` is what is known of the file nonetheless."""

    def __init__(
        self, code: ReasonCode, message: str, details: Details | None = None, result: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code: ReasonCode = code
        self.details, self.result = details or {}, result or {}


def too_much_text(limit_chars: int) -> Refused:
    """The refusal of a text over its cap."""
    return Refused("too_much_text", f"its text is over the limit of {limit_chars:,} characters", {"limit_chars": limit_chars})


def too_many_pages(count: int, kind: str, limit: int) -> Refused:
    """The refusal of a file of more pages, slides or sheets than are read."""
    return Refused("too_many_pages", f"it has {count:,} {kind}; the limit is {limit:,}", {"count": count, "limit": limit})


def too_much_memory(limit_bytes: int) -> Refused:
    """The refusal of a file that would need more than a parser is given."""
    return Refused(
        "too_much_memory", f"reading it takes more than {limit_bytes >> 20:,} MiB of memory", {"limit_bytes": limit_bytes}
    )


def is_disks_fault(error: Exception) -> bool:
    """Whether an error is the machine's and not the file's. Libraries raise OSError for broken files too: without a number (bz2,
    olefile), or because they were led to a place before the file's start (zipfile)."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def clean(text: str) -> str:
    """The same number of characters, without those that no database or terminal takes (controls, lone surrogates)."""
    return _SURROGATE.sub("\ufffd", text.translate(_CONTROLS))


def squeeze(text: str) -> str:
    """All white space runs become one space."""
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Block:
    """`continues`: the sentence of the block before runs on into this one (a page break within a paragraph)."""

    start: int
    end: int
    kind: BlockKind
    page: int | None
    path: tuple[str, ...]
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive: its path there, no more than a name, and the file that it was unpacked to."""

    path: str
    file: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file of an archive that can't be read, and why."""

    path: str
    code: ReasonCode
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """`pages` is None where a format has none; `title` is what the file calls itself; an archive has members."""

    media_type: str
    text: str
    blocks: tuple[Block, ...]
    pages: int | None = None
    title: str | None = None
    members: tuple[Member, ...] = ()
    skipped: tuple[Skipped, ...] = ()


@dataclass(slots=True)
class Builder:
    """Collects blocks in reading order; text over `chars_max` characters is refused."""

    chars_max: int
    _parts: list[str] = field(default_factory=list[str])
    _blocks: list[Block] = field(default_factory=list[Block])
    _length: int = 0
    _headings: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def heading(self, text: str, level: int, page: int | None = None) -> None:
        """A heading of `level` 1 (the highest) to 9; what follows stands under it."""
        text = squeeze(clean(text))
        if not text:
            return
        if len(text) > _HEADING_CHARS_MAX:
            self.add(text, page=page)
            return
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._headings.append((level, text))
        self._append(text, "heading", page, False)

    def add(self, text: str, *, kind: BlockKind = "paragraph", page: int | None = None, continues: bool = False) -> None:
        """A paragraph, or lines; nothing when there is only white space."""
        text = clean(text).strip("\n").rstrip()
        if text.strip():
            self._append(text, kind, page, continues)

    def _append(self, text: str, kind: BlockKind, page: int | None, continues: bool) -> None:
        continues = continues and kind == "paragraph" and bool(self._blocks) and self._blocks[-1].kind == "paragraph"
        gap = "" if not self._blocks else ("\n" if continues else "\n\n")
        start = self._length + len(gap)
        self._length = start + len(text)
        if self._length > self.chars_max:
            raise too_much_text(self.chars_max)
        self._parts += (gap, text)
        path = tuple(title for _, title in self._headings)
        self._blocks.append(Block(start, self._length, kind, page, path, continues))

    @property
    def characters(self) -> int:
        """How long the text is so far."""
        return self._length

    def build(self, media_type: str, *, pages: int | None = None, title: str | None = None) -> Parsed:
        """All of it."""
        title = squeeze(clean(title or ""))[:_HEADING_CHARS_MAX] or None
        return Parsed(media_type, "".join(self._parts), tuple(self._blocks), pages, title)
