"""ODT: paragraphs, headings, lists, tables, notes and annotations."""

from actors.ingest.formats.package import Element, Package, local
from actors.ingest.parsed import Builder, Parsed, Refused, squeeze
from actors.ingest.source import Source

_SKIPPED = {"tracked-changes", "sequence-decls", "note-citation", "forms", "variable-decls", "user-field-decls", "bookmark"}


def _attribute(element: Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _text(element: Element, asides: list[str]) -> str:
    """The words of a paragraph; notes and annotations within it go to `asides`."""
    parts: list[str] = [element.text or ""]
    for child in element:
        name = local(child)
        if name == "s":
            parts.append(
                " " * min(int(_attribute(child, "c") or 1), 1000) if (_attribute(child, "c") or "1").isdigit() else " "
            )
        elif name in ("tab", "line-break"):
            parts.append("\t" if name == "tab" else "\n")
        elif name in ("note", "annotation"):
            said = squeeze(" ".join(_text(p, []) for p in child.iter() if local(p) == "p"))
            if said:
                asides.append(f"{'Note' if name == 'note' else 'Comment'}: {said}")
        elif name and name not in _SKIPPED:
            parts.append(_text(child, asides))
        parts.append(child.tail or "")
    return "".join(parts)


def _rows(table: Element, asides: list[str]) -> list[str]:
    rows: list[str] = []
    for row in (e for e in table.iter() if local(e) == "table-row"):
        cells = [squeeze(_text(cell, asides)) for cell in row if local(cell) == "table-cell"]
        if any(cells):
            rows.append(" | ".join(cells))
    return rows


def _items(element: Element, asides: list[str]) -> list[str]:
    return [f"- {said}" for p in element.iter() if local(p) in ("p", "h") and (said := squeeze(_text(p, asides)))]


def _fill(builder: Builder, body: Element) -> None:
    stack = [iter(body)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
            continue
        name, asides = local(child), list[str]()
        if name == "h":
            level = _attribute(child, "outline-level")
            builder.heading(_text(child, asides), int(level) if level.isdigit() and 0 < int(level) < 10 else 1)
        elif name == "p":
            builder.add("\n".join(squeeze(line) for line in _text(child, asides).split("\n")))
        elif name == "list":
            builder.add("\n".join(_items(child, asides)), kind="lines")
        elif name == "table":
            builder.add("\n".join(_rows(child, asides)), kind="lines")
        elif name and name not in _SKIPPED:
            stack.append(iter(child))
        for aside in asides:
            builder.add(aside)


def parse(source: Source) -> Parsed:
    """A text document of LibreOffice and its kin."""
    with Package(source) as package:
        manifest = package.optional("META-INF/manifest.xml")
        if manifest is not None and any(local(e) == "encryption-data" for e in manifest.iter()):
            raise Refused("encrypted", "it needs a password: its parts are encrypted; save it without one")
        root = package.part("content.xml")
        builder = source.builder()
        for body in (e for e in root.iter() if local(e) == "body"):
            _fill(builder, body)
        meta = package.optional("meta.xml")
    title = None if meta is None else next((e.text for e in meta.iter() if local(e) == "title"), None)
    return builder.build("application/vnd.oasis.opendocument.text", title=title)
