"""Writes of one process on their way to the writer: what comes while calls are in flight goes together in the next one.

A call of an actor costs more than a small commit, so fewer calls, not quicker ones, are what makes many callers fast (the idea is
that of a group commit). A caller that is alone never waits for company.
"""

import asyncio
import copy
from collections import deque
from dataclasses import dataclass

from perenne import correlation, names
from perenne.correlation import Ids
from perenne.directory import Directory
from perenne.errors import Busy, DeadlineExceeded, Unavailable
from perenne.messages.commands import Command, Outcome, StoreDocuments

CALLS_MAX = 4  # in flight at once; what comes meanwhile is gathered
OUTAGES = (Unavailable, Busy, DeadlineExceeded)  # everybody's trouble: the same ids may be sent again


@dataclass(slots=True, eq=False)
class _Part:
    """One caller's commands."""

    commands: tuple[Command, ...]
    timeout_s: float
    answered: "asyncio.Future[tuple[Outcome, ...]]"
    ids: Ids | None


class Gatherer:
    """Sends commands through a directory, in one event loop."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._waiting: deque[_Part] = deque()
        self._alone = 0  # calls that their only caller makes
        self._calls: set[asyncio.Task[None]] = set()  # made for several, who may give up one by one

    async def submit(self, commands: tuple[Command, ...], timeout_s: float) -> tuple[Outcome, ...]:
        """An Outcome each, in order, once they are on disk. Raises as a call of its own would. A caller that gives up leaves its
        commands on their way: they may be on disk."""
        if any(type(command) is StoreDocuments for command in commands):  # long to prepare: nobody else waits for it
            return await self._directory.call(names.STORE_WRITER, "submit", timeout_s=timeout_s, commands=commands)
        if not self._waiting and self._room:
            return await self._call_alone(commands, timeout_s)
        part = _Part(commands, timeout_s, asyncio.get_running_loop().create_future(), correlation.ids())
        self._waiting.append(part)
        self._send()
        try:
            async with asyncio.timeout(timeout_s):
                return await part.answered
        except TimeoutError:
            raise DeadlineExceeded(f"{names.STORE_WRITER}.submit", timeout_s) from None

    @property
    def _room(self) -> bool:
        return self._alone + len(self._calls) < CALLS_MAX

    async def _call_alone(self, commands: tuple[Command, ...], timeout_s: float) -> tuple[Outcome, ...]:
        """Without a task of its own, whose switches would take as long as the half of a small write."""
        self._alone += 1
        try:
            return await self._directory.call(names.STORE_WRITER, "submit", timeout_s=timeout_s, commands=commands)
        finally:
            self._alone -= 1
            self._send()

    def _send(self) -> None:
        while self._waiting and self._room:
            parts = self._next()
            if parts:
                call = asyncio.create_task(self._call(parts))
                self._calls.add(call)
                call.add_done_callback(self._ended)

    def _ended(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._send()

    def _next(self) -> list[_Part]:
        """What goes in one call: at least the first that still waits, and as many after it as a call may carry."""
        parts: list[_Part] = []
        size = 0
        while self._waiting:
            part = self._waiting[0]
            if not part.answered.done():
                if parts and size + len(part.commands) > names.COMMANDS_PER_CALL_MAX:
                    break
                parts.append(part)
                size += len(part.commands)
            self._waiting.popleft()
        return parts

    async def _call(self, parts: list[_Part]) -> None:
        first = parts[0].ids
        correlation.work_for(first if all(part.ids == first for part in parts) else None)
        commands = tuple(command for part in parts for command in part.commands)
        try:
            outcomes: tuple[Outcome, ...] = await self._directory.call(
                names.STORE_WRITER, "submit", timeout_s=max(part.timeout_s for part in parts), commands=commands
            )
        except OUTAGES as error:
            _refuse(parts, error)
        except Exception as error:  # what one of them did wrong is not the others' fault: each is sent alone
            if len(parts) == 1:
                _refuse(parts, error)
            else:
                await asyncio.gather(*(self._call([part]) for part in parts))
        else:
            at = 0
            for part in parts:
                own = outcomes[at : at + len(part.commands)]
                at += len(part.commands)
                if not part.answered.done():
                    part.answered.set_result(own)


def _refuse(parts: list[_Part], error: Exception) -> None:
    """Each caller raises an error of its own: tracebacks are not shared."""
    for part in parts:
        if not part.answered.done():
            part.answered.set_exception(copy.copy(error))
