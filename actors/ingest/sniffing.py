"""What kind of file it is: by its content first, by its name where the content leaves it open."""

import re
import zipfile
from collections.abc import Callable, Iterable

from actors.ingest.compressed import is_tar
from actors.ingest.formats.source_code import language_of
from actors.ingest.parsed import Refused
from actors.ingest.source import Source

SUPPORTED = (
    "PDF, DOCX, PPTX, XLSX, ODT, RTF, EPUB, HTML, e-mail (EML, MSG, MBOX), CSV, Markdown, notebooks, source code, JSON lines, text, "
    "and archives of these (ZIP, TAR, gzip, bzip2, xz)"
)

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"{\\rtf", "rtf"),
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
    (b"ID3", "MP3 sound"),
    (b"OggS", "Ogg sound"),
    (b"fLaC", "FLAC sound"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"(\xb5/\xfd", "Zstandard"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "a database"),
)
_OFFICE = {"word/document.xml": "docx", "ppt/presentation.xml": "pptx", "xl/workbook.xml": "xlsx"}
_ZIP_ENDINGS = {".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx", ".odt": "odt", ".epub": "epub"}
_MIME = {
    b"application/vnd.oasis.opendocument.text": "odt",
    b"application/epub+zip": "epub",
}
_HTML = re.compile(
    rb"<(!doctype\s+html|html|head|body|div|p|table|h[1-6]|article|section|span|meta|title|ul|ol|script|style|br)[\s>/]", re.I
)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*")
_MAIL = (b"from:", b"to:", b"subject:", b"date:", b"message-id:", b"mime-version:", b"received:", b"return-path:")
# Compound files: the stream or storage that each kind has.
_COMPOUND = {"EncryptedPackage": "locked_office", "__properties_version1.0": "outlook"}
_OLD_OFFICE = {
    "WordDocument": "a Word file of before 2007 (.doc; save it as .docx)",
    "Workbook": "an Excel file of before 2007 (.xls; save it as .xlsx)",
    "Book": "an Excel file of before 1997 (.xls; save it as .xlsx)",
    "PowerPoint Document": "a PowerPoint file of before 2007 (.ppt; save it as .pptx)",
}
_OLD_ENDINGS = (".doc", ".xls", ".ppt", ".dot", ".xlt", ".pps")
_SEPARATED = (".csv", ".tsv", ".tab")
_SEPARATED_TYPES = ("text/csv", "text/tab-separated-values")
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
            if source.ending in _ZIP_ENDINGS:
                return _ZIP_ENDINGS[source.ending]
            if "[Content_Types].xml" in names:
                raise unsupported("an Office file of another kind")
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Refused("damaged", f"it is a damaged archive ({error})") from error
    return "zip"


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
    """A format of `reading`, a stream of `compressed`, "zip" or "tar", or "locked_office"; Refused for the rest."""
    head = source.head()
    if b"%PDF-" in head[:1024]:
        return "pdf"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return _INSIDE[kind](source) if kind in _INSIDE else kind
    if is_tar(head):
        return "tar"
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


def _ole_kind(source: Source) -> str:
    """A compound file: what it is says the name of its main stream."""
    from olefile import OleFileIO

    try:
        with OleFileIO(str(source.path)) as compound:
            names = {str(path[0]) for path in compound.listdir(streams=True, storages=True)}
    except (OSError, ValueError, IndexError, AttributeError) as error:
        if source.ending in _OLD_ENDINGS:
            raise unsupported("an Office file of before 2007 (.doc, .xls, .ppt)") from error
        raise Refused("damaged", f"it is a damaged Office file ({error})"[:400]) from error
    for name, kind in _COMPOUND.items():
        if name in names:
            return kind
    for name, what in _OLD_OFFICE.items():
        if name in names:
            raise unsupported(what)
    if not names:
        raise Refused("damaged", "it is a damaged Office file: what is in it can't be found")
    raise unsupported("a compound file of another program")


def _text_kind(source: Source, head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"From ") and _is_mail(start.partition(b"\n")[2]):
        return "mbox"
    if source.ending == ".ipynb":
        return "notebook"
    if source.ending in _SEPARATED or source.media_type in _SEPARATED_TYPES:
        return "separated"
    if language_of(source.name) is not None:
        return "source_code"
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


_INSIDE: dict[str, Callable[[Source], str]] = {"zip": _zip_kind, "ole": _ole_kind}  # told by what is in it
