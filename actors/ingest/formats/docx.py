"""DOCX: paragraphs, headings by style, lists, tables, footnotes, endnotes and comments, where they stand."""

import re
from collections.abc import Iterator
from typing import Any

from actors.ingest.formats.package import Element, Package, local
from actors.ingest.formats.relations import package_title
from actors.ingest.parsed import Builder, Parsed, squeeze
from actors.ingest.source import Source

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING_NAME = re.compile(r"^(?:heading|título|titulo|überschrift|titre)\s*([1-9])$", re.I)
_TITLE_NAMES = ("title", "título")
_SKIPPED = {"del", "moveFrom", "instrText", "delText", "Fallback", "pPr", "rPr", "sectPr", "tblPr", "trPr", "tcPr"}
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes", "commentReference": "comments"}
_LEADING = {"footnotes": "Note", "endnotes": "Note", "comments": "Comment"}

Notes = dict[tuple[str, str], str]


def _attribute(element: Element | None, name: str = "val") -> str:
    if element is None:
        return ""
    return element.get(_W + name) or element.get(name) or ""


def _child(element: Element | None, *names: str) -> Element | None:
    for wanted in names:
        if element is None:
            return None
        element = next((c for c in element if local(c) == wanted), None)
    return element


def _heading_levels(styles: Element | None) -> dict[str, int]:
    """Style id -> heading level, by outline level or name, through `basedOn`."""
    own: dict[str, int] = {}
    based: dict[str, str] = {}
    for style in () if styles is None else styles:
        if local(style) != "style":
            continue
        name, style_id = _attribute(_child(style, "name")).strip(), _attribute(style, "styleId")
        based[style_id] = _attribute(_child(style, "basedOn"))
        outline = _attribute(_child(style, "pPr", "outlineLvl"))
        named = _HEADING_NAME.match(name)
        if named:
            own[style_id] = int(named.group(1))
        elif name.lower() in _TITLE_NAMES:
            own[style_id] = 1
        elif outline.isdigit() and int(outline) < 9:
            own[style_id] = int(outline) + 1
    levels: dict[str, int] = {}
    for style_id in based:
        at, steps = style_id, 0
        while at and at not in own and steps < 20:
            at, steps = based.get(at, ""), steps + 1
        if at in own:
            levels[style_id] = own[at]
    return levels


def _walk(element: Element) -> Iterator[Element]:
    """Descendants in order, without what is deleted, doubled or property; no recursion, however deep."""
    stack = [iter(element)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
            continue
        if local(child) in _SKIPPED:
            continue
        yield child
        stack.append(iter(child))


def _run_text(paragraph: Element, noted: list[tuple[str, str]] | None = None) -> str:
    parts: list[str] = []
    for element in _walk(paragraph):
        name = local(element)
        if name == "t":
            parts.append(element.text or "")
        elif name in ("tab", "ptab"):
            parts.append("\t")
        elif name in ("br", "cr", "p"):  # a paragraph within one: a text box
            parts.append("\n")
        elif name == "noBreakHyphen":
            parts.append("-")
        elif name in _NOTES and noted is not None:
            noted.append((_NOTES[name], _attribute(element, "id")))
    return "".join(parts)


def _notes(package: Package) -> Notes:
    found: Notes = {}
    for part in ("footnotes", "endnotes", "comments"):
        root = package.optional(f"word/{part}.xml")
        for note in () if root is None else root:
            text = squeeze(_run_text(note))
            if text and _attribute(note, "type") not in ("separator", "continuationSeparator"):
                author = _attribute(note, "author")
                lead = f"{_LEADING[part]} ({author})" if author else _LEADING[part]
                found[part, _attribute(note, "id")] = f"{lead}: {text}"
    return found


def _rows(table: Element, noted: list[tuple[str, str]]) -> Iterator[str]:
    """A line for each row, cells parted by a bar; tables within cells are flattened."""
    for row in table.iter(_W + "tr"):
        cells: list[str] = []
        for cell in row:
            inner = _child(cell, "sdtContent", "tc") if local(cell) == "sdt" else cell
            if inner is not None and local(inner) == "tc":
                cells.append(squeeze(_run_text(inner, noted)))
        if any(cells):
            yield " | ".join(cells)


class _Body:
    def __init__(self, builder: Builder, levels: dict[str, int], notes: Notes) -> None:
        self._builder, self._levels, self._notes = builder, levels, notes
        self._list: list[str] = []

    def _end_list(self) -> None:
        if self._list:
            self._builder.add("\n".join(self._list), kind="lines")
            self._list.clear()

    def _add_notes(self, noted: list[tuple[str, str]]) -> None:
        for key in noted:
            if key in self._notes:
                self._builder.add(self._notes.pop(key))

    def paragraph(self, element: Element) -> None:
        noted: list[tuple[str, str]] = []
        text = _run_text(element, noted)
        properties = _child(element, "pPr")
        outline = _attribute(_child(properties, "outlineLvl"))
        level = self._levels.get(_attribute(_child(properties, "pStyle")))
        if level is None and outline.isdigit() and int(outline) < 9:
            level = int(outline) + 1
        if level is None and _child(properties, "numPr") is not None and text.strip():
            self._list.append(f"- {squeeze(text)}")
            if not noted:
                return
        self._end_list()
        if level is not None and text.strip():
            self._builder.heading(text, level)
        elif _child(properties, "numPr") is None:
            self._builder.add("\n".join(squeeze(line) for line in text.split("\n")))
        self._add_notes(noted)

    def table(self, element: Element) -> None:
        noted: list[tuple[str, str]] = []
        self._end_list()
        self._builder.add("\n".join(_rows(element, noted)), kind="lines")
        self._add_notes(noted)

    def close(self) -> None:
        self._end_list()
        self._add_notes(list(self._notes))


def _blocks(body: Element) -> Iterator[Element]:
    """Paragraphs and tables in order, through the wrappers that may stand around them."""
    stack: list[Any] = [iter(body)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
        elif local(child) in ("p", "tbl"):
            yield child
        elif local(child) in ("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag"):
            stack.append(iter(child))


def parse(source: Source) -> Parsed:
    """A DOCX file's body. Headers and footers are furniture and stay out."""
    with Package(source) as package:
        document = package.part("word/document.xml")
        body = _child(document, "body")
        builder = source.builder()
        text = _Body(builder, _heading_levels(package.optional("word/styles.xml")), _notes(package))
        for element in () if body is None else _blocks(body):
            (text.paragraph if local(element) == "p" else text.table)(element)
        text.close()
        title = package_title(package)
    return builder.build("application/vnd.openxmlformats-officedocument.wordprocessingml.document", title=title)
