"""Jupyter notebooks: words as Markdown, code as code, and of each output its text, cut short."""

from typing import Any

import orjson

from actors.ingest.formats.markdown import add_markdown
from actors.ingest.parsed import Builder, Parsed, Refused
from actors.ingest.source import Source

OUTPUT_CHARS_MAX = 2_000  # of one cell's outputs: a log is not what a notebook says


def _joined(value: Any) -> str:
    """A text, or a list of its lines."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _output(output: Any) -> str:
    if not isinstance(output, dict):
        return ""
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename')}: {output.get('evalue')}"
    data = output.get("data")
    plain = data.get("text/plain") if isinstance(data, dict) else None
    return _joined(output.get("text") or plain)


def _add_outputs(builder: Builder, cell: dict[str, Any]) -> None:
    said = "\n".join(text for each in _list(cell.get("outputs")) if (text := _output(each).strip("\n")))
    if said.strip():
        cut = said if len(said) <= OUTPUT_CHARS_MAX else said[:OUTPUT_CHARS_MAX] + " …"
        builder.add(f"Output:\n{cut}", kind="lines")


def _add_cell(builder: Builder, cell: Any) -> str | None:
    """-> the heading of level 1 in it."""
    if not isinstance(cell, dict):
        return None
    text = _joined(cell.get("source", cell.get("input")))  # `input` before version 4
    kind = cell.get("cell_type")
    if kind == "markdown":
        return add_markdown(builder, text)
    if kind == "heading":
        level = cell.get("level")
        builder.heading(text, level if isinstance(level, int) and 1 <= level <= 9 else 1)
    else:
        builder.add(text, kind="lines")
        _add_outputs(builder, cell)
    return None


def _cells(book: dict[str, Any]) -> list[Any]:
    """Those of version 4, or of the sheets of version 3."""
    sheets = [sheet for sheet in _list(book.get("worksheets")) if isinstance(sheet, dict)]
    return _list(book.get("cells")) + [cell for sheet in sheets for cell in _list(sheet.get("cells"))]


def parse(source: Source) -> Parsed:
    """A notebook (nbformat 3 and 4)."""
    try:
        book: Any = orjson.loads(source.read().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Refused("damaged", f"it is damaged: it is not JSON ({error})") from error
    if not isinstance(book, dict):
        raise Refused("damaged", f"it is damaged: expected an object, got {type(book).__name__}")
    builder = source.builder()
    title: str | None = None
    for cell in _cells(book):
        found = _add_cell(builder, cell)
        title = title or found
    if builder.characters == 0:
        raise Refused("empty", "there is no text in it")
    return builder.build("application/x-ipynb+json", title=title)
