"""The store as callers see it: writes retried by their id until a deadline, reads spread over the readers."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from perenne import names
from perenne.directory import Directory
from perenne.gathering import OUTAGES, Gatherer
from perenne.messages.commands import Command, Outcome

T = TypeVar("T")

_AGAIN = retry_if_exception_type(OUTAGES)
_PAUSE_S = 0.05  # the longest before the second try; twice that before the third, and so on
_TRY_S = 0.05  # the shortest that one try is given


class Store:
    """`write` and `read` for any holder of a Directory."""

    def __init__(self, directory: Directory, readers: int = 1) -> None:
        self._directory = directory
        self._gatherers: WeakKeyDictionary[asyncio.AbstractEventLoop, Gatherer] = WeakKeyDictionary()
        self._readers = itertools.cycle([names.store_reader(n) for n in range(readers)])

    async def submit(self, *commands: Command, deadline_s: float = 30.0) -> tuple[Outcome, ...]:
        """Send commands and answer each with its Outcome, in order; others' that come at the same time share the call. Once
        this returns they are on disk (or failed alone, for good). Raises Unavailable, Busy or DeadlineExceeded when the deadline
        passed without a word: then they may be on disk, and the same ids may be sent again."""
        loop = asyncio.get_running_loop()
        gatherer = self._gatherers.setdefault(loop, Gatherer(self._directory))
        deadline = loop.time() + deadline_s
        return await _until(deadline, 1.0, lambda: gatherer.submit(commands, min(10.0, _left_s(deadline))))

    async def write(self, command: Command, deadline_s: float = 30.0) -> Any:
        """Send one command; its value, or its error raised."""
        (outcome,) = await self.submit(command, deadline_s=deadline_s)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    async def read(self, method: str, /, *, deadline_s: float = 10.0, **query: Any) -> Any:
        """Ask any reader; another or the same one again when it is away, until the deadline."""
        deadline = asyncio.get_running_loop().time() + deadline_s
        ask = lambda: self._directory.call(next(self._readers), method, timeout_s=_left_s(deadline), **query)  # noqa: E731
        return await _until(deadline, 0.5, ask)


async def _until(deadline: float, longest_pause_s: float, ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` gives; asked again after outages, with growing pauses, until the deadline."""
    try:
        return await ask()  # by itself: to prepare for another try takes longer than many an answer
    except OUTAGES:
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise
    pauses = wait_random_exponential(_PAUSE_S, max=longest_pause_s)
    await asyncio.sleep(random.uniform(0.0, _PAUSE_S))
    async for attempt in AsyncRetrying(retry=_AGAIN, stop=stop_after_delay(left_s), wait=pauses, reraise=True):
        with attempt:
            return await ask()
    raise AssertionError("unreachable: tenacity reraises")


def _left_s(deadline: float) -> float:
    """Until the deadline; a moment at least, so that the last try is one."""
    return max(_TRY_S, deadline - asyncio.get_running_loop().time())
