"""Cutting a text into passages: along headings, paragraphs and sentences, each an exact span of it."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actors.ingest.parsed import Block
from actors.ingest.sentences import lines, sentences

MAX_SHARE = 1.5  # the hard maximum of a passage, of its target
TINY_SHARE = 0.3  # a passage shorter than this share of the target is merged with a neighbour where it fits


@dataclass(frozen=True, slots=True)
class Span:
    """A passage is text[start:end]; `page` is that of its first character, `path` what all of it stands under."""

    start: int
    end: int
    page: int | None = None
    path: tuple[str, ...] = ()


@dataclass(slots=True)
class _Piece:
    """What is not cut further: a sentence, a line, a heading."""

    start: int
    end: int
    path: tuple[str, ...]
    heading: bool = False


def hard_max(target: int) -> int:
    """The longest passage for this target, in characters."""
    return max(1, int(target * MAX_SHARE))


def _flows(blocks: Sequence[Block]) -> Iterator[tuple[Block, int]]:
    """Each block with the end of its flow: blocks that continue it are part of it."""
    at = 0
    while at < len(blocks):
        last = at
        while last + 1 < len(blocks) and blocks[last + 1].continues:
            last += 1
        yield blocks[at], blocks[last].end
        at = last + 1


def _cut(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """A sentence over the limit: at a clause, else at a space, else where it must be."""
    while end - start > limit:
        floor = start + limit // 2
        at = -1
        for mark in ("\n", "; ", ", ", " "):
            at = text.rfind(mark, floor, start + limit)
            if at >= 0:
                at += len(mark)
                break
        stop = at if at > start else start + limit
        yield start, stop
        start = stop
    if start < end:
        yield start, end


def _pieces(text: str, blocks: Sequence[Block], limit: int) -> Iterator[_Piece]:
    for block, flow_end in _flows(blocks):
        if block.kind == "heading":
            parts: Iterator[tuple[int, int]] = iter([(block.start, block.end)])
        elif block.kind == "lines":
            parts = lines(text, block.start, flow_end)
        else:
            parts = sentences(text, block.start, flow_end)
        for start, end in parts:
            for piece_start, piece_end in _cut(text, start, end, limit):
                yield _Piece(piece_start, piece_end, block.path, block.kind == "heading")


@dataclass(slots=True)
class _Draft:
    start: int
    end: int
    path: tuple[str, ...]
    only_headings: bool


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    shared = 0
    while shared < min(len(a), len(b)) and a[shared] == b[shared]:
        shared += 1
    return a[:shared]


def _drafts(pieces: Iterator[_Piece], target: int, limit: int) -> list[_Draft]:
    """Fill up to the target; a heading, or another section, begins a new one."""
    drafts: list[_Draft] = []
    now: _Draft | None = None
    for piece in pieces:
        if now is not None:
            size = piece.end - now.start
            under = piece.path[: len(now.path)] == now.path
            if now.only_headings and size <= limit and (under or not piece.heading):
                now.end, now.path, now.only_headings = piece.end, piece.path, piece.heading
                continue
            if not piece.heading and piece.path == now.path and size <= target:
                now.end = piece.end
                continue
            drafts.append(now)
        now = _Draft(piece.start, piece.end, piece.path, piece.heading)
    if now is not None:
        drafts.append(now)
    return drafts


def _merge(drafts: list[_Draft], target: int, limit: int) -> list[_Draft]:
    """Tiny neighbours join: within a section up to the hard maximum, across sections up to the target."""
    tiny = int(target * TINY_SHARE)
    merged: list[_Draft] = []
    for draft in drafts:
        last = merged[-1] if merged else None
        if last is not None and (last.end - last.start < tiny or draft.end - draft.start < tiny):
            size = draft.end - last.start
            if size <= (limit if last.path == draft.path else target) and (last.only_headings or not draft.only_headings):
                last.end, last.path = draft.end, _common(last.path, draft.path)
                last.only_headings = last.only_headings and draft.only_headings
                continue
        merged.append(draft)
    return merged


def split(text: str, blocks: Sequence[Block], target: int) -> list[Span]:
    """Passages in order, none longer than `hard_max(target)`, none empty, none with white space at its ends. Every character
    of a block that is not white space is in exactly one."""
    limit = hard_max(target)
    starts = [block.start for block in blocks]
    spans: list[Span] = []
    for draft in _merge(_drafts(_pieces(text, blocks, limit), target, limit), target, limit):
        body = text[draft.start : draft.end]
        start = draft.start + len(body) - len(body.lstrip())
        end = draft.start + len(body.rstrip())
        if start < end:
            page = blocks[max(0, bisect_right(starts, start) - 1)].page
            spans.append(Span(start, end, page, draft.path))
    return spans


def split_short(text: str, target: int) -> list[Span]:
    """Passages of a text without structure; one that fits into the hard maximum stays whole."""
    body = text.strip()
    if not body:
        return []
    start = text.index(body)
    if len(body) <= hard_max(target):
        return [Span(start, start + len(body))]
    return split(text, [Block(start, start + len(body), "paragraph", None, ())], target)
