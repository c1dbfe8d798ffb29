"""A file to its text: the kind decided, the right parser called, what is packed unpacked, what a parser raises turned into a sentence."""

import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

from actors.ingest.archive import ARCHIVES, expand
from actors.ingest.caps import Caps
from actors.ingest.compressed import STREAMS, unpacked
from actors.ingest.formats.office_password import opened
from actors.ingest.parsed import Parsed, Refused, is_disks_fault, too_much_memory
from actors.ingest.sniffing import kind_of
from actors.ingest.source import Source

_LIBRARIES = (
    "charset_normalizer",
    "markdown_it",
    "msoffcrypto",
    "olefile",
    "oxmsg",
    "pypdfium2",
    "pyzipper",
    "striprtf.striprtf",
)
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
    "mbox": "mailbox_file",
    "outlook": "outlook",
    "rtf": "rtf",
    "separated": "separated",
    "notebook": "notebook",
    "source_code": "source_code",
    "markdown": "markdown",
    "jsonl": "json_lines",
    "text": "text",
}


def _too_large(why: str, source: Source) -> Refused:
    return Refused("too_large", why, {"limit_bytes": source.caps.file_bytes_max})


def load_formats() -> None:
    """Import every parser with what it needs."""
    for name in (*_FORMATS.values(), "package"):
        import_module(f"actors.ingest.formats.{name}")
    for library in _LIBRARIES:
        import_module(library)


@contextlib.contextmanager
def _judged(caps: Caps) -> Iterator[None]:
    """Whatever a library raises becomes a refusal, but for what is not the file's fault."""
    try:
        yield
    except (Refused, ImportError):
        raise
    except MemoryError as error:
        raise too_much_memory(caps.memory_bytes_max) from error
    except RecursionError as error:
        raise Refused("nested_too_deeply", "it is nested too deeply") from error
    except Exception as error:
        if is_disks_fault(error):
            raise
        why = f"it is damaged: it can't be read ({type(error).__name__}: {error})"[:400]
        raise Refused("damaged", why) from error


def _parse(source: Source, kind: str) -> Parsed:
    parse = cast("Callable[[Source], Parsed]", import_module(f"actors.ingest.formats.{_FORMATS[kind]}").parse)
    return parse(source)


def _kind_within(source: Source, stream: str) -> str:
    """The kind of what was unpacked; it has the cap of any other file unless it is an archive, which has its own."""
    kind = kind_of(source)
    if kind in STREAMS:
        raise Refused("unsupported", f"it is a {kind} file within a {stream} file")
    if kind not in ARCHIVES and source.path.stat().st_size > source.caps.file_bytes_max:
        raise _too_large(f"it unpacks to more than the limit of {source.caps.file_bytes_max:,} bytes", source)
    return kind


def _read(source: Source, work: Path) -> Parsed:
    kind = kind_of(source)
    if kind in STREAMS:
        source = unpacked(source, work.with_suffix(".unpacked"), kind)
        kind = _kind_within(source, kind)
    if kind == "locked_office":
        source = opened(source, work)
        kind = kind_of(source)
    return expand(source, kind, work) if kind in ARCHIVES else _parse(source, kind)


def read(source: Source, work: Path) -> Parsed:
    """The text of a file. `work` is a path beside which temporary files may be made. Raises Refused with the reason, OSError
    when our own disk fails."""
    size = source.path.stat().st_size
    if size > source.caps.file_bytes_max:
        raise _too_large(f"it is {size:,} bytes long; the limit is {source.caps.file_bytes_max:,}", source)
    if size == 0:
        raise Refused("empty", "it is empty")
    with _judged(source.caps):
        parsed = _read(source, work)
    if not parsed.text:
        raise Refused("empty", "there is no text in it")
    return parsed
