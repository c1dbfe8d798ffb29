"""Markdown: its words without its marks, headings as headings."""

import re
from typing import Any

from actors.ingest.formats.html import add_html
from actors.ingest.formats.text import decode
from actors.ingest.parsed import Builder, Parsed, Refused
from actors.ingest.source import Source

_FRONT_MATTER = re.compile(r"\A---\n(.*?\n)?(?:---|\.\.\.)\n", re.S)
_FRONT_TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.M)


def _words(inline: Any) -> str:
    """The text of an inline token; a picture is its description."""
    parts: list[str] = []
    for child in inline.children or ():
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif child.type == "image":
            parts.append(child.content)
    return "".join(parts)


def _fill(builder: Builder, tokens: list[Any]) -> str | None:
    """-> the first heading of level 1."""
    title: str | None = None
    heading = lists = 0
    rows: list[str] = []
    cells: list[str] = []
    in_row = False
    for token in tokens:
        kind = token.type
        if kind == "heading_open":
            heading = int(token.tag[1])
        elif kind in ("bullet_list_open", "ordered_list_open"):
            lists += 1
        elif kind in ("bullet_list_close", "ordered_list_close", "table_close"):
            lists -= kind != "table_close"
            if lists == 0:
                builder.add("\n".join(rows), kind="lines")
                rows.clear()
        elif kind == "tr_open":
            in_row = True
        elif kind == "tr_close":
            rows.append(" | ".join(cells))
            cells.clear()
            in_row = False
        elif kind in ("fence", "code_block"):
            builder.add("\n".join(rows), kind="lines")
            rows.clear()
            builder.add(token.content, kind="lines")
        elif kind == "html_block":
            add_html(builder, token.content)
        elif kind == "inline":
            text = _words(token)
            if heading:
                title = title or (text if heading == 1 else None)
                builder.heading(text, heading)
                heading = 0
            elif in_row:
                cells.append(" ".join(text.split()))
            elif lists:
                rows.append("- " + " ".join(text.split()))
            else:
                builder.add(text)
    builder.add("\n".join(rows), kind="lines")
    return title


def add_markdown(builder: Builder, text: str) -> str | None:
    """Its words -> its first heading of level 1."""
    from markdown_it import MarkdownIt

    return _fill(builder, MarkdownIt("commonmark").enable("table").parse(text))


def parse(source: Source) -> Parsed:
    """A Markdown file."""
    text = decode(source.read()).replace("\r\n", "\n").replace("\r", "\n")
    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front.group(1) or "") if front else None
    builder = source.builder()
    title = add_markdown(builder, text[front.end() :] if front else text)
    if builder.characters == 0:
        raise Refused("empty", "it is empty")
    return builder.build("text/markdown", title=named.group(1) if named else title)
