"""The processes in which files are parsed: `python -m actors.ingest.child PARENT_PID` waits for requests on standard input and
forks a process for each, which puts the caps on itself, reads the file, and writes the result beside itself.

The one that waits never sees what is in a file; with the parsers loaded once, a file costs a fork and not a start of Python."""

import gc
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from actors.ingest import caps as limits
from actors.ingest.caps import Caps
from actors.ingest.no_sockets import no_sockets
from actors.ingest.parsed import Parsed, Refused, too_much_memory

_PROGRESS_EVERY_S = 0.2
_HEADROOM_BYTES = 48 << 20  # let go of when memory is short, so that the end can still be told


class _Answers:
    """Lines to the parent, on a descriptor that no library prints to."""

    def __init__(self) -> None:
        self._fd = os.dup(1)
        os.dup2(2, 1)
        self._told_at = 0.0

    def say(self, **message: Any) -> None:
        import orjson

        os.write(self._fd, orjson.dumps(message) + b"\n")

    def refuse(self, refusal: Refused) -> None:
        self.say(status="refused", code=refusal.code, reason=str(refusal), details=refusal.details)

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= _PROGRESS_EVERY_S:
            self._told_at = now
            self.say(status="progress", done=done, total=total)


def _result(parsed: Parsed, chunk_chars: int) -> bytes:
    import orjson

    from actors.ingest import language
    from actors.ingest.splitter import split

    spans = split(parsed.text, parsed.blocks, chunk_chars)
    whole, languages = language.of_all(parsed.text, [(s.start, s.end) for s in spans])
    chunks = [(s.start, s.end, s.page, s.path, spoken) for s, spoken in zip(spans, languages, strict=True)]
    return orjson.dumps(
        {
            "media_type": parsed.media_type,
            "title": parsed.title,
            "pages": parsed.pages,
            "language": whole,
            "text": parsed.text,
            "chunks": chunks,
            "members": [(m.path, m.file, m.size_bytes) for m in parsed.members],
            "skipped": [(s.path, s.code, s.reason) for s in parsed.skipped],
        }
    )


def _work(request: dict[str, Any], answers: _Answers) -> None:
    from actors.ingest.reading import read
    from actors.ingest.source import Source

    output = Path(request["output"])
    source = Source(
        path=Path(request["path"]),
        name=request["name"],
        media_type=request["media_type"],
        password=request["password"],
        caps=Caps(**request["caps"]),
        progress=answers.progress,
    )
    result = _result(read(source, output), source.caps.chunk_chars)
    aside = output.with_suffix(".writing")
    aside.write_bytes(result)
    aside.replace(output)


def _parse(request: dict[str, Any], answers: _Answers) -> None:
    """One request, one answer: `ok` (the result is at `output`), `refused` or `failed` with a reason."""
    headroom: bytearray | None = bytearray(_HEADROOM_BYTES)
    try:
        _work(request, answers)
    except Refused as refusal:
        answers.refuse(refusal)
    except MemoryError:
        headroom = None
        answers.refuse(too_much_memory(request["caps"]["memory_bytes_max"]))
    except RecursionError:
        answers.refuse(Refused("nested_too_deeply", "it is nested too deeply"))
    except Exception as error:
        answers.say(status="failed", reason=f"{type(error).__name__}: {error}"[:400])
    else:
        answers.say(status="ok")
    del headroom


def _child(request: dict[str, Any], answers: _Answers, parent: int) -> NoReturn:
    try:
        limits.die_with(parent)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        answers.say(status="started", pid=os.getpid())
        limits.apply(Caps(**request["caps"]))
        _parse(request, answers)
    finally:
        os._exit(0)  # nothing that the parent holds is this one's to close


def _load() -> None:
    """What any file may need, so that no child loads it again."""
    from actors.ingest import language, reading

    reading.load_formats()
    language.guess("words")
    gc.freeze()  # what is shared with the children stays so


def main() -> None:
    """Serve requests, one at a time, until standard input ends or the parent does."""
    limits.die_with(int(sys.argv[1]))
    limits.leave_network()
    no_sockets()
    limits.yield_to_others()
    answers = _Answers()
    import orjson

    loaded = False
    while line := sys.stdin.buffer.readline():
        if not loaded:  # with the first file: a PC that adds none does not carry the parsers
            _load()
            loaded = True
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _child(orjson.loads(line), answers, parent)
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        answers.say(status="ended", code=code, cpu_s=usage.ru_utime + usage.ru_stime, memory_bytes=usage.ru_maxrss << 10)


if __name__ == "__main__":
    main()
