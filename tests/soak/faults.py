"""The faults: each strikes a running instance, and is over once a write is acknowledged again and everything that died is back."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from perenne.errors import PerenneError
from tests.chaos.test_kill_everything import kill_all
from tests.live.running import RunningInstance
from tests.soak.plan import PROXIES, REPLICAS, Fault

HEALED_WITHIN_S = 240.0
_REPLACED_WITHIN_S = 120.0
_LOOP_DEATHS = 6  # of one child: more than its usual starts
_LOOK_S = 0.1
RESERVE_BYTES = 48 << 20
HOME_BYTES = 3 << 30  # of a home that is to be filled

Write = Callable[[], Awaitable[None]]


@dataclass
class Blow:
    """What a fault did. `answers_s`: from the blow to the first write that began after it and was acknowledged; `whole_s`: until all
    was up; `note`: what else there is to say; `wrong`: what should not have been."""

    fault: Fault
    struck: bool = False
    began_at: float = 0.0  # seconds since 1970
    ended_at: float = 0.0
    answers_s: float | None = None
    whole_s: float | None = None
    note: str = ""
    wrong: str = ""


class Striker:
    """Strikes one instance. `write` returns once a write that it began was acknowledged."""

    def __init__(self, instance: RunningInstance, write: Write, can_fill: bool) -> None:
        self._instance, self._write, self._can_fill = instance, write, can_fill
        self._begun = 0.0
        self._answered: asyncio.Task[None] | None = None

    async def strike(self, fault: Fault) -> Blow:
        blow = Blow(fault, began_at=time.time())
        self._answered = None
        try:
            await getattr(self, f"_{fault.kind}")(blow)
            if self._answered is not None:
                await self._answered
                await asyncio.to_thread(self._instance.await_ready, HEALED_WITHIN_S)
                blow.whole_s = round(asyncio.get_running_loop().time() - self._begun, 2)
        except (AssertionError, TimeoutError, PerenneError) as error:
            blow.wrong = f"{fault.name}: {error}"[:1500]
        finally:
            if self._answered is not None and not self._answered.done():
                self._answered.cancel()
        blow.ended_at = time.time()
        return blow

    def _mending(self, blow: Blow) -> None:
        """From now on it has to mend itself: a write is begun, and the clock runs."""
        blow.struck, loop = True, asyncio.get_running_loop()
        self._begun = loop.time()

        async def write() -> None:
            await self._write()
            blow.answers_s = round(loop.time() - self._begun, 2)

        self._answered = asyncio.create_task(write())

    async def _kill(self, blow: Blow) -> None:
        target = blow.fault.target
        if target == "everything":
            await asyncio.to_thread(kill_all, self._instance)
            self._mending(blow)
            await asyncio.to_thread(self._instance.start)
            return
        if target == "root":
            await asyncio.to_thread(self._instance.kill_root)
            self._mending(blow)
            await self._start_after_root(blow)
            return
        pids = await self._pids(target)
        if not pids:
            blow.note = "there is no such process"
            return
        for pid in pids:
            _send(pid, signal.SIGKILL)
        self._mending(blow)
        await self._replaced(target, pids)

    async def _start_after_root(self, blow: Blow) -> None:
        """`perenne up` takes over what its dead predecessor left. Where it can't, what is left is ended, as systemd does."""
        try:
            await asyncio.to_thread(self._instance.start)
        except AssertionError as error:
            blow.wrong = f"{blow.fault.name}: {str(error).splitlines()[0]}"[:400]
            await asyncio.to_thread(kill_all, self._instance)
            await asyncio.to_thread(self._instance.start)

    async def _hang(self, blow: Blow) -> None:
        """Stopped until somebody notices; where nobody has to, it is a finding."""
        pids = (await self._pids(blow.fault.target))[:1]
        if not pids:
            blow.note = "there is no such process"
            return
        _send(pids[0], signal.SIGSTOP)
        self._mending(blow)
        try:
            await self._replaced(blow.fault.target, pids)
        finally:
            _send(pids[0], signal.SIGCONT)

    async def _pause(self, blow: Blow) -> None:
        """Stopped for a moment; it may be replaced meanwhile or go on."""
        pids = await self._pids(blow.fault.target)
        if not pids:
            blow.note = "there is no such process"
            return
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        blow.struck = True
        await asyncio.sleep(blow.fault.for_s)
        for pid in pids:
            _send(pid, signal.SIGCONT)
        self._mending(blow)

    async def _crash_loop(self, blow: Blow) -> None:
        for _ in range(_LOOP_DEATHS):
            pids = await self._pids(blow.fault.target)
            for pid in pids:
                _send(pid, signal.SIGKILL)
            blow.struck = True
            await self._replaced(blow.fault.target, pids)
        self._mending(blow)

    async def _stop(self, blow: Blow) -> None:
        blow.struck = True
        code = await asyncio.to_thread(self._instance.stop)
        left = await asyncio.to_thread(self._instance.processes)
        if code or left:
            blow.wrong = f"{blow.fault.name}: it ended with {code} and left {[held.command()[:2] for held in left.values()]}"
        self._mending(blow)
        await asyncio.to_thread(self._instance.start)

    async def _fill(self, blow: Blow) -> None:
        """The home's disk fills to below its reserve; reading goes on; then there is room again."""
        if not self._can_fill:
            blow.note = "there is no disk of its own to fill: a tmpfs could not be mounted"
            return
        ballast = self._instance.home / "ballast"
        await asyncio.to_thread(_fill, ballast)
        blow.struck = True
        try:
            await asyncio.sleep(blow.fault.for_s)
            with self._instance.client() as http:
                answer = await asyncio.to_thread(http.get, "/api/projects")
            if not answer.is_success:
                blow.wrong = f"{blow.fault.name}: reading says {answer.status_code} {answer.text[:200]}"
        finally:
            ballast.unlink()
        self._mending(blow)

    # Who is meant

    async def _pids(self, target: str) -> list[int]:
        return await asyncio.to_thread(self._pids_now, target)

    def _pids_now(self, target: str) -> list[int]:
        if target in REPLICAS:
            return self._instance.pids_of(f"ray::ServeReplica:{target}")
        if target in PROXIES:
            held = self._instance.processes()
            return [pid for pid, process in held.items() if target in " ".join(process.command()[:1])]
        if target == "gcs_server":
            return self._instance.pids_of("gcs_server")
        if target == "Supervisor":
            return self._instance.pids_of("ray::Supervisor")
        status = self._instance.status()
        found = [child.pid for child in status.children if child.name.startswith(target) and child.pid > 0] if status else []
        return found[:1]

    async def _replaced(self, target: str, old: list[int]) -> None:
        """Wait until another process does its work."""
        begun = time.monotonic()
        while time.monotonic() - begun < _REPLACED_WITHIN_S:
            with contextlib.suppress(PerenneError):
                now = await self._pids(target)
                if now and not set(now) & set(old):
                    return
            await asyncio.sleep(_LOOK_S)
        raise AssertionError(f"{old} were not replaced within {_REPLACED_WITHIN_S:g} s")


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _fill(ballast: Path) -> None:
    room = os.statvfs(ballast.parent)
    free = room.f_bavail * room.f_frsize
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free - RESERVE_BYTES // 2))
