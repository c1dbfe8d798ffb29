"""A file to its text: the kind decided, the right parser called, gzip undone, and whatever a parser raises turned into a sentence."""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from actors.ingest.parsed import Parsed, Refused
from actors.ingest.sniffing import kind_of
from actors.ingest.source import Source

_PIECE = 1 << 20
# Each format in a module of its own, loaded when a file of it comes: a child must start quickly.
_FORMATS = {
    "pdf": "pdf",
    "docx": "docx",
    "pptx": "pptx",
    "xlsx": "xlsx",
    "odt": "odt",
    "epub": "epub",
    "html": "html",
    "mail": "mail",
    "markdown": "markdown",
    "jsonl": "json_lines",
    "text": "text",
}


def _ungzip(source: Source, work: Path) -> Source:
    unpacked = work.with_suffix(".unpacked")
    left = source.caps.file_bytes_max
    try:
        with gzip.open(source.path) as packed, unpacked.open("wb") as file:
            while piece := packed.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise Refused(f"it unpacks to more than the limit of {source.caps.file_bytes_max:,} bytes")
                file.write(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refused(f"it is a damaged gzip file ({error})") from error
    name = source.name[:-3] if source.ending == ".gz" else source.name
    return replace(source, path=unpacked, name=name, media_type=None)


def _parse(source: Source, kind: str) -> Parsed:
    parse = cast("Callable[[Source], Parsed]", import_module(f"actors.ingest.formats.{_FORMATS[kind]}").parse)
    try:
        return parse(source)
    except (Refused, ImportError):
        raise
    except MemoryError as error:
        raise Refused(f"reading it takes more than {source.caps.memory_bytes_max >> 20:,} MiB of memory") from error
    except RecursionError as error:
        raise Refused("it is nested too deeply") from error
    except OSError:
        raise  # the disk's fault, not the file's
    except Exception as error:
        raise Refused(f"it is damaged: it can't be read as {kind.upper()} ({type(error).__name__}: {error})"[:400]) from error


def read(source: Source, work: Path) -> Parsed:
    """The text of a file. `work` is a path beside which temporary files may be made. Raises Refused with the reason, OSError
    when our own disk fails."""
    size = source.path.stat().st_size
    if size > source.caps.file_bytes_max:
        raise Refused(f"it is {size:,} bytes long; the limit is {source.caps.file_bytes_max:,}")
    if size == 0:
        raise Refused("it is empty")
    kind = kind_of(source)
    if kind == "gzip":
        source = _ungzip(source, work)
        kind = kind_of(source)
        if kind == "gzip":
            raise Refused("it is a gzip file within a gzip file")
    parsed = _parse(source, kind)
    if not parsed.text:
        raise Refused("there is no text in it")
    return parsed
