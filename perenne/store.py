"""The store as callers see it: writes retried by their id until a deadline, reads spread over the readers."""

import asyncio
import itertools
from typing import Any
from weakref import WeakKeyDictionary

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from perenne import names
from perenne.directory import Directory
from perenne.gathering import OUTAGES, Gatherer
from perenne.messages.commands import Command, Outcome

_AGAIN = retry_if_exception_type(OUTAGES)
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
        async for attempt in AsyncRetrying(
            retry=_AGAIN, stop=stop_after_delay(deadline_s), wait=wait_random_exponential(0.05, max=1.0), reraise=True
        ):
            with attempt:
                return await gatherer.submit(commands, min(10.0, _left_s(deadline)))
        raise AssertionError("unreachable: tenacity reraises")

    async def write(self, command: Command, deadline_s: float = 30.0) -> Any:
        """Send one command; its value, or its error raised."""
        (outcome,) = await self.submit(command, deadline_s=deadline_s)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    async def read(self, method: str, /, *, deadline_s: float = 10.0, **query: Any) -> Any:
        """Ask any reader; another or the same one again when it is away, until the deadline."""
        deadline = asyncio.get_running_loop().time() + deadline_s
        async for attempt in AsyncRetrying(
            retry=_AGAIN, stop=stop_after_delay(deadline_s), wait=wait_random_exponential(0.05, max=0.5), reraise=True
        ):
            with attempt:
                return await self._directory.call(next(self._readers), method, timeout_s=_left_s(deadline), **query)
        raise AssertionError("unreachable: tenacity reraises")


def _left_s(deadline: float) -> float:
    """Until the deadline; a moment at least, so that the last try is one."""
    return max(_TRY_S, deadline - asyncio.get_running_loop().time())
