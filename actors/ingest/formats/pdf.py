"""PDF, by Chromium's own reader (pypdfium2): text by page, lines joined to paragraphs, headings from the outline."""

import re
from collections import Counter, defaultdict
from typing import Any

from actors.ingest.parsed import Builder, Parsed, Refused, squeeze, too_many_pages, too_much_text
from actors.ingest.source import Source

_HYPHENS = re.compile("[\ufffe\u00ad\x02]\\s*")  # how pdfium marks a word that was broken at a line's end
_TERMINAL = (".", "!", "?", ":", "…", ".”", ".»", '."', "。", "！", "？")
_BULLET = re.compile(r"^([•●▪◦‣·–—*-]|\(?\d{1,3}[.)]|\(?[a-z]\))\s+")
_NUMBERING = re.compile(r"^(\d+(\.\d+)*\.?|[IVXLC]+\.|[A-Z]\.)\s+")
_DIGITS = re.compile(r"\d+")
_OUTLINE_MAX = 5_000  # entries that are looked at
_REPEATED_SHARE = 0.6  # of the pages that carry a line at the same edge: then it is furniture

Outline = dict[int, list[tuple[str, int]]]


def _open(source: Source) -> Any:
    import pypdfium2 as pdfium

    try:
        return pdfium.PdfDocument(source.path, password=source.password)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            if source.password:
                raise Refused("password_wrong", "it needs a password, and the one that was given does not open it") from error
            raise Refused("password_needed", "it needs a password: retry with the password") from error
        raise Refused("damaged", f"it is damaged or not a PDF ({error})") from error


def _outline(document: Any) -> Outline:
    """Titles and levels by page index."""
    import pypdfium2 as pdfium

    found: Outline = defaultdict(list)
    try:
        for number, mark in enumerate(document.get_toc(max_depth=9)):
            if number >= _OUTLINE_MAX:
                break
            dest = mark.get_dest()
            index = None if dest is None else dest.get_index()
            title = squeeze(mark.get_title() or "")
            if index is not None and title:
                found[index].append((title, mark.level + 1))
    except (pdfium.PdfiumError, ValueError):
        return found  # a broken outline costs the headings, not the text
    return found


def _page_lines(document: Any, index: int) -> list[str] | None:
    import pypdfium2 as pdfium

    try:
        page = document[index]
        textpage = page.get_textpage()
        text = textpage.get_text_range()
        textpage.close()
        page.close()
    except pdfium.PdfiumError:
        return None
    return [squeeze(line) for line in _HYPHENS.sub("", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _drop_furniture(pages: list[list[str]]) -> None:
    """Take running heads, feet and page numbers off, in place."""
    full = [lines for lines in pages if len(lines) > 2]
    for edge in (0, -1):
        seen = Counter(_DIGITS.sub("#", lines[edge]) for lines in full)
        for lines in full:
            if seen[_DIGITS.sub("#", lines[edge])] >= max(4, _REPEATED_SHARE * len(full)):
                del lines[edge]


def _heading_of(line: str, outline: list[tuple[str, int]]) -> tuple[int, int] | None:
    """(place in the outline, level) when the line is one of the page's outlined titles, numbering aside."""
    bare = _NUMBERING.sub("", line).casefold()
    for place, (title, level) in enumerate(outline):
        if title.casefold() == line.casefold() or _NUMBERING.sub("", title).casefold() == bare:
            return place, level
    return None


def _add_page(builder: Builder, lines: list[str], number: int, outline: list[tuple[str, int]]) -> None:
    width = sorted(map(len, lines))[int(len(lines) * 0.9)] if lines else 0
    paragraph: list[str] = []
    first = True

    def flush() -> None:
        nonlocal first
        if not paragraph:
            return
        text = " ".join(paragraph)
        paragraph.clear()
        builder.add(text, page=number, continues=first and number > 1 and text[0].islower())
        first = False

    for line in lines:
        heading = _heading_of(line, outline) if outline and line else None
        if heading is not None:
            flush()
            builder.heading(line, heading[1], number)
            del outline[: heading[0] + 1]
            first = False
            continue
        if not line or _BULLET.match(line):
            flush()
        if line:
            paragraph.append(line)
            if line.endswith(_TERMINAL) and len(line) < 0.8 * width:
                flush()
    flush()


def parse(source: Source) -> Parsed:
    """A PDF's text layer. Refused: needs a password, damaged, too many pages, or no text in it."""
    document = _open(source)
    count = len(document)
    if count > source.caps.pages_max:
        raise too_many_pages(count, "pages", source.caps.pages_max)
    pages: list[list[str]] = []
    broken = characters = 0
    for index in range(count):
        lines = _page_lines(document, index)
        broken += lines is None
        pages.append(lines or [])
        characters += sum(map(len, pages[-1]))
        if characters > source.caps.text_chars_max:
            raise too_much_text(source.caps.text_chars_max)
        source.progress(index + 1, count)
    if count in (0, broken):
        raise Refused("damaged", "it is damaged: none of its pages can be read")
    outline = _outline(document)
    _drop_furniture(pages)
    builder = source.builder()
    for index, lines in enumerate(pages):
        _add_page(builder, lines, index + 1, outline.get(index, []))
    if builder.characters == 0:
        raise Refused("only_pictures", "there is no text in it, only pictures: reading scanned pages is not supported yet")
    return builder.build("application/pdf", pages=count, title=_title(document))


def _title(document: Any) -> str | None:
    import pypdfium2 as pdfium

    try:
        return document.get_metadata_dict(skip_empty=True).get("Title")
    except pdfium.PdfiumError:
        return None
