"""Sends by a process beside us (`channels/sender.py`), started with the first message and let go of when none came for a while."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from actors.alerts.channels.order import Order, Sent
from perenne.settings import OutgoingSettings

log = logging.getLogger(__name__)

LIMIT_S = 45.0  # one message, names looked up and all
_GRACE_S = 15.0  # beyond it, for the libraries' first reading-in and a busy PC; then the process itself is taken for hung
_REST_S = 120.0
_LINE_BYTES_MAX = 64 << 10
_ROOT = Path(__file__).resolve().parents[2]
_KEPT_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "TZ",
)  # no proxy: what is connected to is what is checked


class Outgoing(Protocol):
    """What takes an order and says what came of it; it never raises for what a sink did."""

    async def send(self, order: Order) -> Sent: ...


class Sender:
    """The process; lives in one event loop. Any number of `send` may run at once, each has a fork to itself."""

    def __init__(self, settings: OutgoingSettings, limit_s: float = LIMIT_S, rest_s: float = _REST_S) -> None:
        self._settings, self._limit_s, self._rest_s = settings, limit_s, rest_s
        self._process: Process | None = None
        self._waiting: dict[int, asyncio.Future[Sent]] = {}
        self._numbers = 0
        self._starting = asyncio.Lock()
        self._resting: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def send(self, order: Order) -> Sent:
        """One message. What became of it when the process died meanwhile nobody knows; that is a Sent that is not ok."""
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        if self._resting is not None:
            self._resting.cancel()
        self._waiting[number] = answer
        try:
            process = await self._started()
            assert process.stdin is not None
            process.stdin.write(self._line(number, order))
            await process.stdin.drain()
            async with asyncio.timeout(self._limit_s + _GRACE_S):
                return await answer
        except TimeoutError:
            await self.close()
            return Sent(ok=False, words=f"the process that sends did not answer within {self._limit_s + _GRACE_S:g} s")
        except OSError as error:
            return Sent(ok=False, words=f"the process that sends could not be told: {error}")
        finally:
            self._waiting.pop(number, None)
            self._rest()

    def _line(self, number: int, order: Order) -> bytes:
        request = {
            "number": number,
            "order": asdict(order),
            "allow": list(self._settings.allow),
            "ca_file": self._settings.ca_file,
            "limit_s": self._limit_s,
        }
        return json.dumps(request).encode() + b"\n"

    async def _started(self) -> Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                await self.close()
                self._process = await self._start()
                self._reading = asyncio.create_task(self._read(self._process))
            return self._process

    async def _start(self) -> Process:
        environment = {name: value for name in _KEPT_ENVIRONMENT if (value := os.environ.get(name))}
        environment |= {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", "NETRC": os.devnull}
        if self._settings.ca_file:
            environment |= {"REQUESTS_CA_BUNDLE": self._settings.ca_file, "SSL_CERT_FILE": self._settings.ca_file}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-s",
            "-m",
            "actors.alerts.channels.sender",
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # what libraries print may hold an address
            env=environment,
            cwd="/",
            limit=_LINE_BYTES_MAX,
            start_new_session=True,
        )

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                answer = self._waiting.get(said.pop("number"))
                if answer is not None and not answer.done():  # a fork that answered and then ended is told of twice
                    answer.set_result(Sent(**said))
        except (ValueError, TypeError, KeyError):
            log.exception("the process that sends said what is no answer")
        if self._process is process:
            try:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()  # who hears of it and sends again finds it ended, and has another started
            finally:
                self._give_up("the process that sends ended")

    def _give_up(self, words: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(Sent(ok=False, words=words))

    def _rest(self) -> None:
        """After a while without a message, give its memory back."""
        if self._waiting:
            return
        if self._resting is not None:
            self._resting.cancel()
        loop = asyncio.get_running_loop()
        self._resting = loop.call_later(self._rest_s, self._end_when_idle)

    def _end_when_idle(self) -> None:
        if not self._waiting:
            self._kill()

    def _kill(self) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End it with what it is sending; harmless twice."""
        process, self._process = self._process, None
        reading, self._reading = self._reading, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
