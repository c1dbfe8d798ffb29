"""Single files under gzip, bzip2 or xz, unpacked aside within a bound."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

from actors.ingest.parsed import Refused, is_disks_fault
from actors.ingest.source import Source

_PIECE = 1 << 20
_TAR_BLOCK = 512


def _xz(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", lzma.LZMAFile(path))


STREAMS: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "gzip": (gzip.open, (".gz", ".tgz")),
    "bzip2": (bz2.open, (".bz2", ".tbz2", ".tbz")),
    "xz": (_xz, (".xz", ".txz", ".lzma")),
}
_BROKEN = (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, ValueError)


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a TAR archive (POSIX, GNU)."""
    return head[257:262] == b"ustar"


def holds_tar(path: Path, kind: str) -> bool:
    """Whether what is packed is a TAR archive; False when it can't be told."""
    try:
        with STREAMS[kind][0](path) as packed:
            return is_tar(packed.read(_TAR_BLOCK))
    except (*_BROKEN, OSError):
        return False


def unpacked(source: Source, into: Path, kind: str) -> Source:
    """The file within, at `into`. Refused when it is damaged or over the cap on what may be unpacked."""
    open_stream, endings = STREAMS[kind]
    limit = source.caps.unpacked_bytes_max
    left = limit
    try:
        with open_stream(source.path) as packed, into.open("wb") as file:
            while piece := packed.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    why = f"it unpacks to more than the limit of {limit:,} bytes"
                    raise Refused("archive_bomb", why, {"limit_bytes": limit})
                file.write(piece)
    except _BROKEN as error:
        raise Refused("damaged", f"it is a damaged {kind} file ({error})"[:400]) from error
    except OSError as error:
        if is_disks_fault(error):
            raise
        raise Refused("damaged", f"it is a damaged {kind} file ({error})"[:400]) from error
    name = source.name[: -len(source.ending)] if source.ending in endings else source.name
    return replace(source, path=into, name=name, media_type=None)
