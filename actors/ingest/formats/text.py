"""Text in any encoding."""

import codecs
import re

from actors.ingest import language
from actors.ingest.parsed import Builder, Parsed, Refused
from actors.ingest.source import Source

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 64 << 10  # bytes that an encoding is guessed from
_SURE_CHAOS = 0.2  # charset-normalizer's share of mess above which Windows-1252 is the better guess
# Bytes 0x80-0x9f are printable in Windows-1252 (quotes, dashes, the euro) and controls in ISO 8859: the web standard reads both as the former.
_WESTERN = frozenset({"ascii", "latin_1", "iso8859_1", "iso8859_15", "cp1252"})
_WESTERN_TONGUES = frozenset("en es pt fr de it nl ca gl eu sv da no nn fi is ga oc ast".split())  # noqa: SIM905
_FEW = 0.2  # share of bytes over 0x7f below which a text is in the Latin script
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_LIST = re.compile(r"^[ \t]*([-*•+–]|\d{1,3}[.)])[ \t]", re.M)


def wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark or by where its zero bytes stand."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return None if name == "utf-8-sig" else name
    sample = head[:4096]
    if len(sample) < 4 or b"\x00" not in sample:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > half * 0.4 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.4 and odd < half * 0.05:
        return "utf-16-be"
    return None


def _guess(content: bytes) -> str:
    from charset_normalizer import from_bytes

    sample = content[:_SAMPLE]
    if sum(1 for byte in sample if byte >= 0x80) < _FEW * len(sample):
        tongue, sure = language.guess(sample.decode("cp1252", "replace"))
        if tongue in _WESTERN_TONGUES and sure >= 0.5:
            return "cp1252"  # letters that its neighbours would take for others of theirs: ñ for ń
    best = from_bytes(sample).best()
    if best is None or best.encoding in _WESTERN or best.chaos > _SURE_CHAOS:
        return "cp1252"
    return best.encoding


def decode(content: bytes, declared: str | None = None) -> str:
    """Text of bytes: by its mark, as UTF-8 where it is that, as declared, else by the best guess. Never raises: what the
    encoding lacks becomes U+FFFD."""
    if content.startswith(codecs.BOM_UTF8):
        return content.decode("utf-8-sig", "replace")
    wide = wide_encoding(content)
    if wide is not None:
        return content.decode(wide, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if declared:
        try:
            name = codecs.lookup(declared).name
            return content.decode("cp1252" if name in ("iso8859-1", "ascii") else name, "replace")
        except (LookupError, ValueError, UnicodeError):
            pass
    if _nearly_utf8(content):
        return content.decode("utf-8", "replace")
    return content.decode(_guess(content), "replace")


def _nearly_utf8(content: bytes) -> bool:
    """A long text with a few broken bytes: what the encoding lacks is far less than what it explains."""
    high = sum(1 for byte in content[:_SAMPLE] if byte >= 0x80)
    broken = content[:_SAMPLE].decode("utf-8", "replace").count("\ufffd")
    return high > 20 and broken * 20 < high


def add_plain(builder: Builder, text: str, page: int | None = None) -> None:
    """Paragraphs are what blank lines part; lists and short lines stay lines."""
    for paragraph in _PARAGRAPH.split(text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n")):
        rows = paragraph.strip("\n").split("\n")
        short = len(rows) > 2 and sum(map(len, rows)) < 45 * len(rows)
        listed = len(rows) > 1 and len(_LIST.findall(paragraph)) * 2 >= len(rows)
        builder.add(paragraph, kind="lines" if short or listed else "paragraph", page=page)


def parse(source: Source) -> Parsed:
    """A text file, as it is."""
    content = source.read()
    if not content.strip():
        raise Refused("empty", "it is empty")
    builder = source.builder()
    add_plain(builder, decode(content))
    return builder.build("text/plain")
