"""What kind of file it is: by its content first, by its name where the content leaves it open."""

import re
import zipfile
from collections.abc import Iterable

from actors.ingest.parsed import Refused
from actors.ingest.source import Source

SUPPORTED = "PDF, DOCX, PPTX, XLSX, ODT, EPUB, HTML, e-mail, Markdown, JSON lines and text"

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"{\\rtf", "RTF"),
    (b"ID3", "MP3 sound"),
    (b"OggS", "Ogg sound"),
    (b"fLaC", "FLAC sound"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"(\xb5/\xfd", "Zstandard"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "a database"),
)
_OFFICE = {"word/document.xml": "docx", "ppt/presentation.xml": "pptx", "xl/workbook.xml": "xlsx"}
_MIME = {
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/epub+zip": "epub",
}
_HTML = re.compile(
    rb"<(!doctype\s+html|html|head|body|div|p|table|h[1-6]|article|section|span|meta|title|ul|ol|script|style|br)[\s>/]", re.I
)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*")
_MAIL = (b"from:", b"to:", b"subject:", b"date:", b"message-id:", b"mime-version:", b"received:", b"return-path:")
_MARKDOWN_ENDINGS = (".md", ".markdown", ".mdown", ".mkd")
_HTML_ENDINGS = (".html", ".htm", ".xhtml")


def unsupported(what: str) -> Refused:
    """The refusal of a kind that nothing here reads."""
    return Refused("unsupported", f"{what} is not supported yet; supported are {SUPPORTED}", {"what": what})


def _zip_kind(source: Source) -> str:
    try:
        with zipfile.ZipFile(source.path) as archive:
            entries: Iterable[str] = archive.namelist()
            names = set(entries)
            for name, kind in _OFFICE.items():
                if name in names:
                    return kind
            if "mimetype" in names:
                with archive.open("mimetype") as file:
                    declared = file.read(128).strip()
                if declared in _MIME:
                    return _MIME[declared]
                raise unsupported(f"the format {declared.decode('ascii', 'replace')!r}")
            if "[Content_Types].xml" in names:
                kind = {".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx"}.get(source.ending)
                if kind is not None:
                    return kind
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Refused("damaged", f"it is a damaged archive ({error})") from error
    raise unsupported("a ZIP archive")


def _is_mail(head: bytes) -> bool:
    at, seen = 0, 0
    while match := _HEADER.match(head, at):
        at = match.end()
        seen += match.group().lower().startswith(_MAIL)
    return seen >= 2 and (at >= len(head) or head[at : at + 1] in (b"\n", b"\r"))


def _looks_binary(head: bytes) -> bool:
    """More control characters than any text has, with UTF-16 and UTF-32 let through (the text parser knows them)."""
    from actors.ingest.formats.text import wide_encoding

    if not head or wide_encoding(head) is not None:
        return False
    return sum(head.count(bytes([c])) for c in (*range(8), *range(14, 27), *range(28, 32))) > len(head) * 0.02


def kind_of(source: Source) -> str:
    """One of "pdf", "docx", "pptx", "xlsx", "odt", "epub", "html", "mail", "markdown", "jsonl", "gzip", "text"; Refused for the rest."""
    head = source.head()
    if b"%PDF-" in head[:1024]:
        return "pdf"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            if kind == "ole":
                raise _ole(source.read())
            return _zip_kind(source) if kind == "zip" else kind
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise unsupported(what)
    if head[4:8] == b"ftyp":
        raise unsupported("MP4 sound or video")
    if head[:4] == b"RIFF" and head[8:12] in (b"WAVE", b"WEBP", b"AVI "):
        raise unsupported({b"WAVE": "WAV sound", b"WEBP": "a WebP image"}.get(head[8:12], "AVI video"))
    if _looks_binary(head):
        raise Refused("unsupported", f"its content is of no kind known here; supported are {SUPPORTED}")
    return _text_kind(source, head)


def _ole(content: bytes) -> Refused:
    if "EncryptedPackage".encode("utf-16-le") in content:
        return Refused("encrypted", "it needs a password: it is an encrypted Office file; save it without one")
    return unsupported("an Office file of before 2007 (.doc, .xls, .ppt)")


def _text_kind(source: Source, head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _is_mail(start):
        return "mail"
    if source.ending in _MARKDOWN_ENDINGS or source.media_type == "text/markdown":
        return "markdown"
    if source.ending in (".jsonl", ".ndjson"):
        return "jsonl"
    if start.startswith(b"<") and _HTML.search(head):
        return "html"
    if source.ending in _HTML_ENDINGS or (source.media_type or "").startswith("text/html"):
        return "html"
    return "text"
