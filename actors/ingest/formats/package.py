"""Archives of XML (DOCX, PPTX, XLSX, ODT, EPUB), opened so that a bomb is refused and an entity is never followed."""

import zipfile
import zlib
from typing import Any, Self

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from actors.ingest.parsed import Refused
from actors.ingest.source import Source

_RATIO_MAX = 400  # unpacked to packed bytes of one entry over a MiB; deflate reaches 1,032 at most, Office's XML 30
_PIECE = 1 << 20

Element = Any  # lxml's elements have no types of their own


def xml(content: bytes) -> Element:
    """The root of an XML part: no entity is expanded, no DTD or address loaded, depth is bounded by libxml2."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Refused("damaged", f"it is damaged: its XML is not well-formed ({error})") from error


def local(element: Element) -> str:
    """`p` of `{namespace}p`; empty for an entity or a comment."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


class Package:
    """A ZIP archive whose whole is bounded: number of entries, unpacked size, and the ratio of each."""

    def __init__(self, source: Source) -> None:
        self._left = source.caps.unpacked_bytes_max
        try:
            self._archive = zipfile.ZipFile(source.path)
            self.names = set(self._archive.namelist())
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
            raise Refused("damaged", f"it is a damaged archive ({error})") from error
        count, limit = len(self._archive.infolist()), source.caps.entries_max
        if count > limit:
            raise Refused("archive_bomb", f"it is an archive of {count:,} files; the limit is {limit:,}", {"limit": limit})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, name: str) -> bytes:
        """One entry. Refused when it is missing, damaged, encrypted or a bomb."""
        try:
            entry = self._archive.getinfo(name)
            if entry.flag_bits & 1:
                raise Refused("encrypted", "it needs a password: its parts are encrypted; save it without one")
            ceiling = self._left
            if entry.file_size > _PIECE:
                ceiling = min(ceiling, max(entry.compress_size * _RATIO_MAX, _PIECE))
            pieces: list[bytes] = []
            with self._archive.open(entry) as file:
                while piece := file.read(_PIECE):
                    pieces.append(piece)
                    ceiling -= len(piece)
                    self._left -= len(piece)
                    if ceiling < 0:
                        raise Refused(
                            "archive_bomb", f"it unpacks to more than an honest file would: {name!r} looks like a bomb"
                        )
            return b"".join(pieces)
        except KeyError as error:
            raise Refused("damaged", f"it is damaged: its part {name!r} is missing") from error
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error) as error:
            raise Refused("damaged", f"it is damaged: its part {name!r} can't be unpacked ({error})") from error

    def part(self, name: str) -> Element:
        """One entry as XML."""
        return xml(self.read(name))

    def optional(self, name: str) -> Element | None:
        """One entry as XML, None when it is missing or broken: the text does not hang on it."""
        if name not in self.names:
            return None
        try:
            return self.part(name)
        except Refused:
            return None
