"""Which runs are answered now, which wait, which were asked to stop. The rows are the truth; this is only who works on them."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from perenne import correlation
from perenne.errors import Busy, PerenneError
from perenne.messages.records import Run
from perenne.store import Store

log = logging.getLogger(__name__)

ACTIVE_MAX = 8  # runs worked on at once: searching and waiting for words; how many generate is bounded apart
WAITING_MAX = 64  # nudges kept; more is Busy, and those runs are found in the database when there is room
SWEEP_S = 2.0  # the net under lost nudges


class Attempt(Protocol):
    """One try at answering one run."""

    async def work(self) -> None:
        """Answer; ends the run or leaves it open for a later attempt, and raises only when it is cancelled."""
        ...

    def stop(self) -> None:
        """The owner asked to stop: what is there so far becomes the answer."""
        ...


class Desk:
    """Takes open runs, oldest first, and works on a bounded number of them; on those of one branch of a conversation one at a
    time, in the order in which they were asked for. Without `replays` (a mutant) it hears nudges only."""

    def __init__(self, store: Store, attempt_of: Callable[[Run], Attempt], *, replays: bool = True) -> None:
        self._store, self._attempt_of, self._replays = store, attempt_of, replays
        self._waiting: OrderedDict[str, str | None] = OrderedDict()  # with the request that asked for each, where it is known
        self._active: dict[str, tuple[Attempt | None, asyncio.Task[None]]] = {}
        self._stopping: set[str] = set()
        # By the run that they wait for; what has no room here is found by the sweep.
        self._behind: dict[str, dict[str, str | None]] = {}
        self._nudge = asyncio.Event()
        self._closing = False
        self.progress_at = time.monotonic()

    @property
    def queue(self) -> int:
        """Runs waiting or in hand."""
        return len(self._waiting) + len(self._active)

    def progressed(self) -> None:
        """A unit of work ended."""
        self.progress_at = time.monotonic()

    def start(self, run_id: str) -> None:
        """There is a run to answer. Busy when too many wait already; the run stays open and is answered later."""
        request_id = correlation.request_id()
        log.info("there is a run to answer", extra={"run_id": run_id})
        self._put(run_id, request_id)
        if run_id in self._waiting:
            self._waiting[run_id] = request_id or self._waiting[run_id]  # the sweep may have been here first

    def _put(self, run_id: str, request_id: str | None) -> None:
        if run_id in self._active or run_id in self._waiting:
            return
        if len(self._waiting) >= WAITING_MAX:
            raise Busy("answering", 5.0)
        if not self._active and not self._waiting:
            self.progressed()
        self._waiting[run_id] = request_id
        self._nudge.set()

    def stop(self, run_id: str) -> None:
        """Stop a run in hand now; one that waits is found stopped in the database when its turn comes."""
        held = self._active.get(run_id)
        if held is None:
            self._release(run_id)
            return
        attempt, task = held
        self._stopping.add(run_id)
        if attempt is not None:
            attempt.stop()
            task.cancel()

    async def run(self) -> None:
        """Work until closed. What was open when this host was last alive comes first."""
        while not self._closing:
            await self._sweep()
            deadline = time.monotonic() + SWEEP_S
            while not self._closing and time.monotonic() < deadline:
                self._fill()
                self._nudge.clear()
                try:
                    async with asyncio.timeout(max(0.01, deadline - time.monotonic())):  # Python 3.11's wait_for eats cancels
                        await self._nudge.wait()
                except TimeoutError:
                    break

    async def close(self) -> None:
        """Let go of everything at once; the runs stay open in the database for the next host."""
        self._closing = True
        self._nudge.set()
        tasks = [task for _, task in self._active.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sweep(self) -> None:
        room = WAITING_MAX - len(self._waiting)
        if room <= 0 or not self._replays:
            return
        try:
            found: tuple[Run, ...] = await self._store.read("open_runs", deadline_s=5.0, limit=room + len(self._active))
        except PerenneError as error:
            log.info("open runs could not be read: %s", error)
            return
        for run in found:
            if len(self._waiting) < WAITING_MAX:
                self._put(run.id, None)

    def _fill(self) -> None:
        while self._waiting and len(self._active) < ACTIVE_MAX:
            run_id, request_id = self._waiting.popitem(last=False)
            task = asyncio.create_task(self._one(run_id, request_id), name=run_id)
            self._active[run_id] = (None, task)

    async def _one(self, run_id: str, request_id: str | None) -> None:
        correlation.work_for((request_id, run_id))
        try:
            run: Run = await self._store.read("run", user_id=None, run_id=run_id)
            if run.state not in ("queued", "running"):
                return
            if run.state == "queued" and await self._waits(run):
                return
            attempt = self._attempt_of(run)
            if run_id in self._stopping:
                attempt.stop()
            self._active[run_id] = (attempt, self._active[run_id][1])
            await attempt.work()
        except PerenneError as error:
            log.warning("run %s is left for later: %s", run_id, error)
        except Exception:
            log.exception("run %s is left for later", run_id)
        finally:
            self._active.pop(run_id, None)
            self._stopping.discard(run_id)
            self._release(run_id)
            self.progressed()
            self._nudge.set()

    async def _waits(self, run: Run) -> bool:
        """Whether an answer before this one is still to be closed. The writer refuses to begin such a run; this is what spares it
        the question, and takes the run up as soon as the other ends here."""
        before: str | None = await self._store.read("run_before", question_id=run.question_id)
        if before is None:
            return False
        here = before in self._active or before in self._waiting or any(before in held for held in self._behind.values())
        if here and sum(map(len, self._behind.values())) < WAITING_MAX:
            self._behind.setdefault(before, {})[run.id] = correlation.request_id()
        return True

    def _release(self, run_id: str) -> None:
        """This run has ended, or was given up: those behind it look again."""
        for behind, request_id in self._behind.pop(run_id, {}).items():
            if len(self._waiting) < WAITING_MAX:
                self._put(behind, request_id)
