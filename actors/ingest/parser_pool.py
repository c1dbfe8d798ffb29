"""Parsing beside us: one process a file, forked by one that stays; how each ended is judged here."""

import asyncio
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from actors.ingest import nurse
from actors.ingest.caps import Caps
from actors.ingest.nurse import End, Nurse, TooSlow
from actors.ingest.parsed import Member, Refused, Skipped
from perenne.messages.records import Details, ReasonCode

_ASIDES = (".unpacked", ".opened", ".writing")  # what a parser makes beside its result and does not live to take away
LOG_NAME = "parser.log"  # what the parsers' libraries print; begun anew with each host
_IDLE_MAX = 2  # processes that wait for the next file
_REST_S = 300.0  # without a file, until the parsers are let go of


class ParserDied(Exception):
    """The parser ended without our or the file's doing, or our own disk failed; the same file may go well next time."""

    def __init__(self, message: str, code: ReasonCode = "internal", details: Details | None = None) -> None:
        super().__init__(message)
        self.code: ReasonCode = code
        self.details = details or {}


class _NeverStarted(ParserDied):
    """The process that was given the file was dead already."""


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


class ParserPool:
    """`parse` may run in as many calls at once as its caller likes; each has a process to itself."""

    def __init__(self, caps: Caps, work: Path, beat: Callable[[], None] = lambda: None) -> None:
        self._caps, self._work, self._beat = caps, work, beat
        self.idle: list[Nurse] = []
        self.memory_bytes, self.cpu_s = 0, 0.0  # the most that a parser took
        self._used_at = time.monotonic()
        self._closed = False

    async def warm(self) -> None:
        """Have a process waiting."""
        if not self.idle and not self._closed:
            self.idle.append(await self._start())

    async def _start(self) -> Nurse:
        self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._work / LOG_NAME).open("ab") as log:
            return await nurse.start(self._work, log)

    async def _take(self) -> Nurse:
        while self.idle:
            held = self.idle.pop()
            if held.lives:
                return held
            await held.end()
        return await self._start()

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
            taken = await self._take()
        except OSError as error:  # no memory, no processes, no files left: none of it is the file's fault
            raise ParserDied(f"its parser could not be started: {error}") from error
        whole = False
        try:
            end = await self._ask(taken, request, on_progress)
            whole = taken.lives
        finally:
            self._used_at = time.monotonic()
            if whole and not self._closed and len(self.idle) < _IDLE_MAX:
                self.idle.append(taken)
            else:
                await taken.end()
        self.memory_bytes, self.cpu_s = max(self.memory_bytes, end.memory_bytes), max(self.cpu_s, end.cpu_s)
        if end.answer is not None:
            return end.answer
        if not end.started:
            raise _NeverStarted(f"its parser ended with code {end.code}")
        raise judge(end.code, self._caps, end.cpu_s)

    async def _ask(self, taken: Nurse, request: dict[str, Any], on_progress: Callable[[int, int], None]) -> End:
        try:
            return await taken.ask(request, self._caps.wall_s_max, on_progress, self._beat)
        except TooSlow as slow:
            raise self._too_slow(slow.cpu_s) from None
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("damaged", f"it is damaged: its parser answered nonsense ({error})") from error

    def _too_slow(self, used_cpu_s: float) -> Exception:
        limit_s = self._caps.wall_s_max
        details: Details = {"limit_s": limit_s}
        if used_cpu_s >= limit_s / 2:
            return Refused("too_slow", f"reading it takes more than {limit_s:g} s", details)
        why = f"reading it took more than {limit_s:g} s, most of them waiting for a busy PC"
        return ParserDied(why, "too_slow", details)

    async def rest(self) -> None:
        """When no file came for a while, what was loaded for them is let go of."""
        if time.monotonic() - self._used_at > _REST_S and any(held.used for held in self.idle):
            await self._end_idle()
            await self.warm()

    async def _end_idle(self) -> None:
        held, self.idle = self.idle, []
        for each in held:
            await each.end()

    async def close(self) -> None:
        """End what waits; a parse in flight is its caller's to cancel. Harmless twice."""
        self._closed = True
        await self._end_idle()
