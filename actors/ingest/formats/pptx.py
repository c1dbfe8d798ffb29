"""PPTX: slides in order, a page each; titles as headings, then text, tables, notes and comments."""

from collections.abc import Iterator

from actors.ingest.formats.package import Element, Package, local
from actors.ingest.formats.relations import package_title, relation_id, relations
from actors.ingest.parsed import Builder, Parsed, squeeze, too_many_pages
from actors.ingest.source import Source

_PRESENTATION = "ppt/presentation.xml"
_TITLES = ("title", "ctrTitle")
_FURNITURE = ("sldNum", "dt", "ftr", "hdr", "sldImg")


def _named(element: Element, *names: str) -> Iterator[Element]:
    return (e for e in element.iter() if local(e) in names)


def _paragraphs(shape: Element) -> list[str]:
    """The text of each paragraph that is not empty."""
    found: list[str] = []
    for paragraph in _named(shape, "p"):
        text = "".join("\n" if local(e) == "br" else (e.text or "") for e in _named(paragraph, "t", "br"))
        if squeeze(text):
            found.append(squeeze(text))
    return found


def _rows(table: Element) -> Iterator[str]:
    for row in _named(table, "tr"):
        cells = [" ".join(_paragraphs(cell)) for cell in row if local(cell) == "tc"]
        if any(cells):
            yield " | ".join(cells)


def _placeholder(shape: Element) -> str:
    mark = next(_named(shape, "ph"), None)
    return "" if mark is None else (mark.get("type") or "body")


def _shapes(root: Element) -> Iterator[tuple[str, list[str]]]:
    """(kind, lines) of each shape: "title", "text" or "table"."""
    for shape in _named(root, "sp", "graphicFrame"):
        if local(shape) == "graphicFrame":
            yield "table", [row for table in _named(shape, "tbl") for row in _rows(table)]
            continue
        kind = _placeholder(shape)
        if kind not in _FURNITURE:
            yield ("title" if kind in _TITLES else "text"), _paragraphs(shape)


def _add_slide(builder: Builder, package: Package, part: str, number: int) -> None:
    shapes = [(kind, lines) for kind, lines in _shapes(package.part(part)) if lines]
    title = next((" ".join(lines) for kind, lines in shapes if kind == "title"), "")
    builder.heading(title, 1, number)
    for kind, lines in shapes:
        if kind == "title" and " ".join(lines) == title:
            continue
        builder.add("\n".join(lines), kind="lines", page=number)
    for kind, target in relations(package, part).values():
        root = package.optional(target) if kind in ("notesSlide", "comments") else None
        if root is None:
            continue
        if kind == "notesSlide":
            texts = [line for what, lines in _shapes(root) if what == "text" for line in lines]
            builder.add("Notes: " + "\n".join(texts) if texts else "", page=number)
        else:
            for comment in _named(root, "cm"):
                said = squeeze(" ".join(e.text or "" for e in _named(comment, "text", "t")))
                builder.add(f"Comment: {said}" if said else "", page=number)


def parse(source: Source) -> Parsed:
    """A presentation."""
    with Package(source) as package:
        known = relations(package, _PRESENTATION)
        listed = [known.get(relation_id(e), ("", ""))[1] for e in _named(package.part(_PRESENTATION), "sldId")]
        slides = [part for part in listed if part]
        if len(slides) > source.caps.pages_max:
            raise too_many_pages(len(slides), "slides", source.caps.pages_max)
        builder = source.builder()
        for number, part in enumerate(slides, 1):
            _add_slide(builder, package, part, number)
            source.progress(number, len(slides))
        title = package_title(package)
    return builder.build(
        "application/vnd.openxmlformats-officedocument.presentationml.presentation", pages=len(slides), title=title
    )
