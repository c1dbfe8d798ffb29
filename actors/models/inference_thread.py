"""The thread that does an engine's blocking work, with a bounded line before it."""

import asyncio
import bisect
import itertools
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Generic, TypeVar

from actors.models.protocols import SIGN_OF_LIFE_S, EngineFigures
from perenne.errors import Busy, EngineFailed, PerenneError

T = TypeVar("T")
_FIRST_GUESS_S = 2.0  # a job's length until one was measured
_RETRY_S = (0.2, 120.0)  # bounds of what a full line advises
_CLOSE_S = 30.0  # how long close() waits for the work in hand
HELPER_NICE = 10  # a helper has a tenth of the share of a thread that somebody waits for, and all of a core that is idle


class Job(Generic[T]):
    """Work in the thread: it hands `emit`ted items to its reader, and stops soon after `cancelled` is set."""

    def __init__(self, work: Callable[["Job[T]"], None], loop: asyncio.AbstractEventLoop) -> None:
        self._work, self._loop = work, loop
        self._items: asyncio.Queue[tuple[bool, Any]] = asyncio.Queue()
        self.cancelled = threading.Event()
        self.moved_at = time.monotonic()

    def emit(self, item: T) -> None:
        self.moved()
        self._post(False, item)

    def moved(self) -> None:
        """A piece of the work was done."""
        self.moved_at = time.monotonic()

    def run(self, engine: str) -> None:
        """In the thread; never raises."""
        error: BaseException | None = None
        try:
            if not self.cancelled.is_set():
                self._work(self)
        except PerenneError as raised:
            error = raised
        except BaseException as raised:  # whatever a binding raises: the thread goes on
            error = EngineFailed(engine, f"{type(raised).__name__}: {raised}")
        self._post(True, error)

    def _post(self, ended: bool, item: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, (ended, item))
        except RuntimeError:  # the reader's loop is closed: nobody waits
            self.cancelled.set()

    async def items(self) -> AsyncGenerator[T | None, None]:
        """What was emitted; None where nothing came for SIGN_OF_LIFE_S. Leaving sets `cancelled`."""
        try:
            while True:
                try:
                    async with asyncio.timeout(SIGN_OF_LIFE_S):  # wait_for of 3.11 may swallow a cancel
                        ended, item = await self._items.get()
                except TimeoutError:
                    yield None
                    continue
                if not ended:
                    yield item
                    continue
                if item is not None:
                    raise item
                return
        finally:
            self.cancelled.set()


class InferenceThread:
    """`queue_max` jobs may wait beside those in hand. Lower `priority` goes first. `helpers`: more threads, for an engine whose work
    may run side by side. Jobs of a `priority` of `helped_from` or more are theirs alone, and run where a core has nothing else to do: so
    whoever asks something waits for no such job."""

    def __init__(self, engine: str, queue_max: int, helpers: int = 0, helped_from: int = 1) -> None:
        self._engine, self._queue_max, self._helped, self._helped_from = engine, queue_max, helpers > 0, helped_from
        self._line: list[tuple[int, int, Job[Any]]] = []  # sorted
        self._numbers = itertools.count()
        self._changed = threading.Condition()  # its lock is held for all that follows
        self._in_hand: list[Job[Any]] = []
        self._job_s = _FIRST_GUESS_S
        self._ended_at = time.monotonic()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, args=(n > 0,), name=f"inference-{engine}", daemon=True)
            for n in range(1 + helpers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queue(self) -> int:
        """Jobs waiting or in hand."""
        return self._waiting + len(self._in_hand)

    @property
    def _waiting(self) -> int:
        return sum(not job.cancelled.is_set() for _, _, job in tuple(self._line))  # who left takes no place

    @property
    def progress_age_s(self) -> float:
        """Since all of the work in hand moved; 0 when nothing is in hand."""
        moved = [job.moved_at for job in tuple(self._in_hand)]
        return time.monotonic() - min(moved) if moved else 0.0

    @property
    def idle_s(self) -> float:
        return 0.0 if self.queue else time.monotonic() - self._ended_at

    def figures(self, prompt_tokens_per_s: float | None = None, tokens_per_s: float | None = None) -> EngineFigures:
        """Of an engine whose work is done here."""
        return EngineFigures(
            queue=self.queue,
            progress_age_s=self.progress_age_s,
            idle_s=self.idle_s,
            prompt_tokens_per_s=prompt_tokens_per_s,
            tokens_per_s=tokens_per_s,
        )

    def submit(self, work: Callable[[Job[T]], None], *, priority: int = 0, admitted: bool = False) -> Job[T]:
        """Put work in the line. Busy when it is full. `admitted`: a further
        piece of work that was let in, never refused."""
        job: Job[T] = Job(work, asyncio.get_running_loop())
        with self._changed:
            if self._closed:
                raise EngineFailed(self._engine, "it is being closed")
            waiting = self._waiting
            if not admitted and waiting >= self._queue_max + (not self._in_hand):
                wait_s = min(_RETRY_S[1], max(_RETRY_S[0], self._job_s * (waiting + 1)))
                raise Busy(f"the model's line ({waiting} wait)", round(wait_s, 1))
            bisect.insort(self._line, (priority, next(self._numbers), job))
            self._changed.notify_all()
        return job

    def _next(self, helps: bool) -> int | None:
        """The place in the line of what this thread may take."""
        if not self._helped:
            return 0 if self._line else None
        return next((n for n, (priority, _, _) in enumerate(self._line) if helps == (priority >= self._helped_from)), None)

    def _take(self, helps: bool) -> Job[Any] | None:
        """Blocks; None once all is over."""
        with self._changed:
            while (place := self._next(helps)) is None:
                if self._closed:
                    return None
                self._changed.wait()
            _, _, job = self._line.pop(place)
            job.moved()
            self._in_hand.append(job)
        return job

    def _run(self, helps: bool) -> None:
        if helps:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HELPER_NICE)
        while (job := self._take(helps)) is not None:
            started = time.monotonic()
            skipped = job.cancelled.is_set()
            job.run(self._engine)
            with self._changed:
                self._in_hand.remove(job)
                self._ended_at = time.monotonic()
                if not skipped:
                    self._job_s += 0.3 * (self._ended_at - started - self._job_s)

    def close(self) -> None:
        """Stop what is in hand and what waits, refuse what comes, end the threads. Harmless twice."""
        with self._changed:
            self._closed = True
            for job in (*self._in_hand, *(job for _, _, job in self._line)):
                job.cancelled.set()
            self._changed.notify_all()
        until = time.monotonic() + _CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
