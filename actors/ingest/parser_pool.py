"""Parsing beside us: one process a file, with a spare one kept warm; how each ended is judged here."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from actors.ingest.caps import Caps
from actors.ingest.parsed import Member, Refused, Skipped
from perenne.messages.records import Details, ReasonCode

_ROOT = Path(__file__).resolve().parents[2]
_LINE_BYTES_MAX = 64 << 10
_ASIDES = (".unpacked", ".opened", ".writing")  # what a parser makes beside its result and does not live to take away
LOG_NAME = "parser.log"  # what the parsers' libraries print; begun anew with each host
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


class ParserDied(Exception):
    """The parser ended without our or the file's doing, or our own disk failed; the same file may go well next time."""

    def __init__(self, message: str, code: ReasonCode = "internal", details: Details | None = None) -> None:
        super().__init__(message)
        self.code: ReasonCode = code
        self.details = details or {}


class _NeverStarted(ParserDied):
    """The spare process was dead already when it was given work."""


@dataclass(frozen=True, slots=True)
class ParsedChunk:
    """A passage by its span in the text."""

    start: int
    end: int
    page: int | None
    heading_path: tuple[str, ...]
    language: str | None


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a parse left on disk."""

    media_type: str
    title: str | None
    pages: int | None
    language: str | None
    text: str
    chunks: tuple[ParsedChunk, ...]
    members: tuple[Member, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def members_folder(output: Path) -> Path:
    """Where the files of an archive lie whose result is at `output`."""
    return output.with_suffix(".members")


def drop_result(output: Path) -> None:
    """The result of a parse, and what was unpacked for it; harmless twice."""
    output.unlink(missing_ok=True)
    shutil.rmtree(members_folder(output), ignore_errors=True)


def _tidy(output: Path) -> None:
    for suffix in _ASIDES:
        output.with_suffix(suffix).unlink(missing_ok=True)
    if not output.exists():
        drop_result(output)


def load_result(path: Path) -> ParsedFile:
    """Read what a child wrote; ValueError or OSError when it is not whole."""
    row: dict[str, Any] = orjson.loads(path.read_bytes())
    text = row["text"]
    chunks = tuple(
        ParsedChunk(start, end, page, tuple(headings), language) for start, end, page, headings, language in row["chunks"]
    )
    if any(not 0 <= c.start < c.end <= len(text) for c in chunks):
        raise ValueError("a passage lies outside its text")
    members = tuple(Member(*each) for each in row["members"])
    if any(not (members_folder(path) / each.file).is_file() for each in members):
        raise ValueError("a file of the archive is gone")
    skipped = tuple(Skipped(*each) for each in row["skipped"])
    return ParsedFile(row["media_type"], row["title"], row["pages"], row["language"], text, chunks, members, skipped)


def judge(code: int, caps: Caps, used_cpu_s: float) -> Exception:
    """Why a child that ended without an answer did."""
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and used_cpu_s >= caps.cpu_s_max * 0.95):
        why = f"reading it takes more than {caps.cpu_s_max:g} s of processor time"
        return Refused("too_slow", why, {"limit_s": caps.cpu_s_max})
    if code == -signal.SIGKILL:
        return ParserDied("its parser was killed from outside; the PC may be short of memory")
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return Refused(
            "damaged",
            f"it is damaged, or needs more than {caps.memory_bytes_max >> 20:,} MiB of memory: its parser crashed ({name})",
        )
    return ParserDied(f"its parser ended with code {code} and no word")


def cpu_s(pid: int) -> float:
    """Processor seconds that a live process has used; 0 when it can't be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


class ParserPool:
    """`parse` may run in as many calls at once as its caller likes; each has a process to itself."""

    def __init__(self, caps: Caps, work: Path, beat: Callable[[], None] = lambda: None) -> None:
        self._caps, self._work, self._beat = caps, work, beat
        self.spare: Process | None = None
        self._spawning: asyncio.Task[None] | None = None
        self._closed = False

    async def warm(self) -> None:
        """Have a spare process waiting."""
        if self.spare is None and not self._closed:
            self.spare = await self._spawn()

    async def _spawn(self) -> Process:
        self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {k: v for k in _KEPT_ENVIRONMENT if (v := os.environ.get(k))}
        environment |= {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        with (self._work / LOG_NAME).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in its folder is no module
                "-s",
                "-m",
                "actors.ingest.child",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=self._work,
                limit=_LINE_BYTES_MAX,
                start_new_session=True,
            )

    async def _take(self) -> Process:
        if self._spawning is not None:
            await asyncio.wait([self._spawning])
        process, self.spare = self.spare, None
        if process is None or process.returncode is not None:
            process = await self._spawn()
        if not self._closed:
            self._spawning = asyncio.create_task(self.warm())
        return process

    async def parse(
        self,
        path: Path,
        *,
        name: str,
        output: Path,
        media_type: str | None = None,
        password: str | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> ParsedFile:
        """Parse the file in a process of its own and leave the result at `output`. Raises Refused when the file is at fault,
        ParserDied when it is not. Cancelled, it kills the process."""
        request = {
            "path": str(path),
            "name": name,
            "output": str(output),
            "media_type": media_type,
            "password": password,
            "caps": asdict(self._caps),
        }
        drop_result(output)
        try:
            answer = await self._attempt(request, on_progress)
        except _NeverStarted:
            answer = await self._attempt(request, on_progress)
        finally:
            _tidy(output)
        if answer["status"] == "refused":
            raise Refused(answer["code"], answer["reason"], answer["details"])
        if answer["status"] != "ok":
            raise ParserDied(f"its parser failed: {answer['reason']}")
        try:
            return await asyncio.to_thread(load_result, output)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ParserDied(f"what its parser wrote can't be read: {error}") from error

    async def _attempt(self, request: dict[str, Any], on_progress: Callable[[int, int], None]) -> dict[str, Any]:
        try:
            process = await self._take()
        except OSError as error:  # no memory, no processes, no files left: none of it is the file's fault
            raise ParserDied(f"its parser could not be started: {error}") from error
        try:
            return await self._ask(process, request, on_progress)
        finally:
            await _end(process)

    async def _ask(self, process: Process, request: dict[str, Any], on_progress: Callable[[int, int], None]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = asyncio.get_running_loop().time() + self._caps.wall_s_max
        used_cpu_s = 0.0
        started = False
        with contextlib.suppress(ConnectionError):
            process.stdin.write(orjson.dumps(request) + b"\n")
            await process.stdin.drain()
        reading = asyncio.create_task(process.stdout.readline())
        try:
            while True:
                await asyncio.wait([reading], timeout=0.5)
                self._beat()  # it lives, and its caps bound how long
                if not reading.done():
                    used_cpu_s = max(used_cpu_s, cpu_s(process.pid))
                    if asyncio.get_running_loop().time() > deadline:
                        raise self._too_slow(used_cpu_s)
                    continue
                line = reading.result()
                if not line:
                    code = await self._code(process, deadline, used_cpu_s)
                    raise (
                        judge(code, self._caps, used_cpu_s) if started else _NeverStarted(f"its parser ended with code {code}")
                    )
                answer: dict[str, Any] = orjson.loads(line)
                started = True
                if answer["status"] == "progress":
                    on_progress(answer["done"], answer["total"])
                elif answer["status"] != "started":
                    return answer
                reading = asyncio.create_task(process.stdout.readline())
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("damaged", f"it is damaged: its parser answered nonsense ({error})") from error
        finally:
            reading.cancel()

    async def _code(self, process: Process, deadline: float, used_cpu_s: float) -> int:
        """The exit code of a child that says nothing more, within its time: it may have closed its end and live on."""
        try:
            async with asyncio.timeout_at(deadline):
                return await process.wait()
        except TimeoutError:
            raise self._too_slow(used_cpu_s) from None

    def _too_slow(self, used_cpu_s: float) -> Exception:
        limit_s = self._caps.wall_s_max
        details: Details = {"limit_s": limit_s}
        if used_cpu_s >= limit_s / 2:
            return Refused("too_slow", f"reading it takes more than {limit_s:g} s", details)
        why = f"reading it took more than {limit_s:g} s, most of them waiting for a busy PC"
        return ParserDied(why, "too_slow", details)

    async def close(self) -> None:
        """End the spare process; a parse in flight is its caller's to cancel. Harmless twice."""
        self._closed = True
        if self._spawning is not None:
            await asyncio.wait([self._spawning])
        if self.spare is not None:
            await _end(self.spare)
            self.spare = None


async def _end(process: Process) -> None:
    """Kill it if it lives, and reap it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()
