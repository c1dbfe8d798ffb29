"""A file to its text: the kind decided, the right parser called, gzip undone, and whatever a parser raises turned into a sentence."""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from actors.ingest.parsed import Parsed, Refused, too_much_memory
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


def _too_large(why: str, source: Source) -> Refused:
    return Refused("too_large", why, {"limit_bytes": source.caps.file_bytes_max})


def _ungzip(source: Source, work: Path) -> Source:
    unpacked = work.with_suffix(".unpacked")
    left = source.caps.file_bytes_max
    try:
        with gzip.open(source.path) as packed, unpacked.open("wb") as file:
            while piece := packed.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise _too_large(f"it unpacks to more than the limit of {source.caps.file_bytes_max:,} bytes", source)
                file.write(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refused("damaged", f"it is a damaged gzip file ({error})") from error
    name = source.name[:-3] if source.ending == ".gz" else source.name
    return replace(source, path=unpacked, name=name, media_type=None)


def _parse(source: Source, kind: str) -> Parsed:
    parse = cast("Callable[[Source], Parsed]", import_module(f"actors.ingest.formats.{_FORMATS[kind]}").parse)
    try:
        return parse(source)
    except (Refused, ImportError):
        raise
    except MemoryError as error:
        raise too_much_memory(source.caps.memory_bytes_max) from error
    except RecursionError as error:
        raise Refused("nested_too_deeply", "it is nested too deeply") from error
    except OSError:
        raise  # the disk's fault, not the file's
    except Exception as error:
        why = f"it is damaged: it can't be read as {kind.upper()} ({type(error).__name__}: {error})"[:400]
        raise Refused("damaged", why) from error


def read(source: Source, work: Path) -> Parsed:
    """The text of a file. `work` is a path beside which temporary files may be made. Raises Refused with the reason, OSError
    when our own disk fails."""
    size = source.path.stat().st_size
    if size > source.caps.file_bytes_max:
        raise _too_large(f"it is {size:,} bytes long; the limit is {source.caps.file_bytes_max:,}", source)
    if size == 0:
        raise Refused("empty", "it is empty")
    kind = kind_of(source)
    if kind == "gzip":
        source = _ungzip(source, work)
        kind = kind_of(source)
        if kind == "gzip":
            raise Refused("unsupported", "it is a gzip file within a gzip file")
    parsed = _parse(source, kind)
    if not parsed.text:
        raise Refused("empty", "there is no text in it")
    return parsed
