"""RTF, by striprtf: its paragraphs and table rows; pictures, headers and hidden tables stay out."""

import re

from actors.ingest.parsed import Builder, Parsed, Refused, squeeze
from actors.ingest.source import Source

_CODE_PAGE = re.compile(rb"\\ansicpg(\d{3,5})")
_BINARY = re.compile(rb"\\bin(\d{1,9}) ?")
_HIGH = re.compile(rb"[\x80-\xff]")
_TITLE = re.compile(r"\{\\title\s((?:[^{}\\]|\\'[0-9a-f]{2}|\\u-?\d+\s?\??)*)\}", re.I)


def _without_binary(content: bytes) -> bytes:
    """Raw pieces are told by their length, not by braces: they go before anything else is read."""
    kept: list[bytes] = []
    at = 0
    while found := _BINARY.search(content, at):
        kept.append(content[at : found.start()])
        at = min(found.end() + int(found.group(1)), len(content))
    kept.append(content[at:])
    return b"".join(kept)


def _ascii(content: bytes) -> str:
    """As the format wants it: raw letters of the code page, which some writers leave in, become escapes."""
    return _HIGH.sub(lambda high: b"\\'%02x" % high.group()[0], _without_binary(content)).decode("ascii")


def _plain(text: str, encoding: str) -> str:
    from striprtf.striprtf import rtf_to_text

    plain: str = rtf_to_text(text, encoding=encoding, errors="replace")
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # what is beyond \uFFFF is written as two


def _add(builder: Builder, text: str) -> None:
    rows: list[str] = []

    def flush() -> None:
        builder.add("\n".join(rows), kind="lines")
        rows.clear()

    for line in text.split("\n"):
        if line.rstrip().endswith("|"):
            cells = [squeeze(cell) for cell in line.split("|")]
            rows += [" | ".join(cell for cell in cells if cell)] if any(cells) else []
            continue
        flush()
        builder.add(squeeze(line))
    flush()


def parse(source: Source) -> Parsed:
    """A document of WordPad, Word or TextEdit."""
    content = source.read()
    declared = _CODE_PAGE.search(content[:4096])
    encoding = f"cp{declared.group(1).decode()}" if declared else "cp1252"
    text = _ascii(content)
    builder = source.builder()
    _add(builder, _plain(text, encoding))
    if builder.characters == 0:
        raise Refused("empty", "there is no text in it")
    title = _TITLE.search(text[:65_536])
    return builder.build("application/rtf", title=_plain("{\\rtf1 " + title.group(1) + "}", encoding) if title else None)
