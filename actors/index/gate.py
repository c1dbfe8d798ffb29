"""Waiting until a sequence has been applied, from any event loop of the process."""

import asyncio
import threading


class SequenceGate:
    """One side says how far it is, the other waits for it. Each of Ray's concurrency groups has an event loop of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reached = 0
        self._waiting: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def reach(self, seq: int) -> None:
        """All up to `seq` is applied."""
        with self._lock:
            self._reached = seq
            due = [each for each in self._waiting if each[0] <= seq]
            self._waiting = [each for each in self._waiting if each[0] > seq]
        for _, loop, future in due:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future)

    async def wait(self, seq: int, within_s: float) -> bool:
        """Whether `seq` was reached within the time."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._reached >= seq:
                return True
            entry = (seq, loop, loop.create_future())
            self._waiting.append(entry)
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                await entry[2]
            return True
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting = [each for each in self._waiting if each is not entry]


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
