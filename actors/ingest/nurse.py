"""A process that forks parsers, held from outside: one request at a time, and how the parser ended."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

_ROOT = Path(__file__).resolve().parents[2]
_LINE_BYTES_MAX = 64 << 10
_LOOK_S = 0.5
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class End:
    """`answer` is the parser's last word, None when it ended without one; `started` is False when no parser came to be."""

    answer: dict[str, Any] | None
    started: bool
    code: int
    cpu_s: float
    memory_bytes: int = 0


class TooSlow(Exception):
    """The time is up; `cpu_s` is what the parser used of the processor."""

    def __init__(self, cpu_s: float) -> None:
        super().__init__(cpu_s)
        self.cpu_s = cpu_s


def cpu_s(pid: int) -> float:
    """Processor seconds that a live process has used; 0 when it can't be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


async def start(folder: Path, log: IO[bytes]) -> "Nurse":
    """A process with no network, no environment of ours and its own group. OSError when there can be none."""
    environment = {k: v for k in _KEPT_ENVIRONMENT if (v := os.environ.get(k))}
    environment |= {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
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
        cwd=folder,
        limit=_LINE_BYTES_MAX,
        start_new_session=True,
    )
    return Nurse(process)


class Nurse:
    """`ask` may be called again after it returned; after it raised, only `end`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid
        self.child = 0  # the parser at work, 0 when there is none
        self.used = False

    @property
    def lives(self) -> bool:
        """Whether it may be asked."""
        return self._process.returncode is None

    async def ask(
        self, request: dict[str, Any], within_s: float, on_progress: Callable[[int, int], None], beat: Callable[[], None]
    ) -> End:
        """One file. Raises TooSlow, and ValueError for words that are none of ours."""
        self.used = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(orjson.dumps(request) + b"\n")
            await self._process.stdin.drain()
        answer: dict[str, Any] | None = None
        started = False
        while message := await self._message(deadline, beat):
            match message["status"]:
                case "started":
                    started, self.child = True, int(message["pid"])
                case "progress":
                    on_progress(message["done"], message["total"])
                case "ended":
                    self.child = 0
                    return End(answer, started, int(message["code"]), float(message["cpu_s"]), int(message["memory_bytes"]))
                case _:
                    answer = message
        try:  # it may have closed its end and live on
            async with asyncio.timeout_at(deadline):
                return End(answer, started, await self._process.wait(), 0.0)
        except TimeoutError:
            raise TooSlow(cpu_s(self.child)) from None

    async def _message(self, deadline: float, beat: Callable[[], None]) -> dict[str, Any] | None:
        """The next line; None when the process is gone. A parser that was killed may have left half a line."""
        assert self._process.stdout is not None
        reading = asyncio.create_task(self._process.stdout.readline())
        try:
            while True:
                await asyncio.wait([reading], timeout=_LOOK_S)
                beat()  # it lives, and its caps bound how long
                if reading.done():
                    line = reading.result()
                    message: dict[str, Any] | None = orjson.loads(line) if line else None
                    return message
                if asyncio.get_running_loop().time() > deadline:
                    raise TooSlow(cpu_s(self.child))
        finally:
            reading.cancel()

    async def end(self) -> None:
        """Kill it with its parser, and reap it; harmless twice."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
