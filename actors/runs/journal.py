"""What one attempt writes: batches of events, each durable before anybody sees it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from actors.runs.first_words import FirstWords
from actors.runs.live import Feed
from perenne import metric_table as table
from perenne import metrics
from perenne.messages.commands import AppendRunEvents, CloseRun
from perenne.messages.event_batch import EventBatch, NewEvent
from perenne.messages.records import EventKind, Run, RunEvent
from perenne.store import Store

DELTA_S = 0.07  # words wait this long for company before they are committed; the first do not
_STAGE_OF = {"route": "route", "retrieve": "search"}  # which step ends which stage
WRITE_S = 60.0  # the writer may be away this long before an attempt gives up


class Journal:
    """The record of one attempt at a run. Command ids count on from 0 within (run, attempt, host): a retry writes nothing twice.

    Raises LeaseLost when another host took the run, Conflict once it is closed: then the attempt has nothing left to say."""

    def __init__(self, store: Store, run: Run, host: str, feed: Feed, first_words: FirstWords) -> None:
        self.run, self._store, self._host, self._feed, self._first_words = run, store, host, feed, first_words
        self._batch = 0
        self._words = ""
        self._flushed_at = 0.0
        self._lock = asyncio.Lock()
        self._began, self._waited_s = time.monotonic(), max(0.0, time.time() - run.created_at)
        self.seconds: dict[str, float] = {}  # from the question's arrival until each stage ended, as far as this attempt saw it

    def reached(self, stage: str) -> None:
        """A stage of the answer has ended now: route, search, first_word or whole. Its first time counts."""
        if stage not in self.seconds:
            self.seconds[stage] = round(self._waited_s + time.monotonic() - self._began, 4)
            metrics.tell(table.RUN_SECONDS, self.seconds[stage], stage)
            if stage == "first_word":
                self._first_words.add(self.seconds[stage], time.monotonic())

    async def _write(self, events: Sequence[NewEvent], close: CloseRun | None = None) -> Run:
        command = AppendRunEvents(
            command_id=f"{self.run.id}:{self._host}:{self.run.attempt}:{self._batch}",
            user_id=self.run.user_id,
            run_id=self.run.id,
            host=self._host,
            events=EventBatch.of(events),
            close=close,
        )
        self._batch += 1
        run: Run = await self._store.write(command, deadline_s=WRITE_S)
        now = time.time()
        first = run.events - len(events) + 1
        self._feed.publish(
            [
                RunEvent(run_id=run.id, seq=seq, kind=event.kind, data=event.data, created_at=now)
                for seq, event in enumerate(events, first)
            ],
            closed=close is not None,
        )
        self.run = run
        for event in events:
            if event.kind == "delta":
                self.reached("first_word")
            elif event.kind == "step" and event.data.get("name") in _STAGE_OF:
                self.reached(_STAGE_OF[event.data["name"]])
        if close is not None:
            metrics.tell(table.RUNS, 1.0, close.state)
            if close.usage is not None:
                metrics.tell(table.RUN_TOKENS, close.usage.prompt_tokens, "prompt")
                metrics.tell(table.RUN_TOKENS, close.usage.completion_tokens, "answer")
        return run

    async def _in_turn(self, events: Sequence[NewEvent], close: CloseRun | None = None) -> Run:
        """Words that wait, then these events. A caller that is cancelled does not take a write with it half-way."""

        async def turn() -> Run:
            async with self._lock:
                batch = [*self._pending(), *events]
                return await self._write(batch, close) if batch or close else self.run

        return await asyncio.shield(asyncio.ensure_future(turn()))

    async def note(self, kind: EventKind, **data: Any) -> Run:
        """One event, after the words that are still waiting."""
        return await self._in_turn([NewEvent(kind=kind, data=data)])

    async def say(self, text: str) -> None:
        """More words of the answer. The first are committed at once, later ones every 70 ms."""
        self._words += text
        if time.monotonic() - self._flushed_at >= DELTA_S:
            await self.flush()

    async def flush(self) -> None:
        """Commit the words that wait."""
        if self._words:
            await self._in_turn(())
            self._flushed_at = time.monotonic()

    async def close(self, close: CloseRun, *events: NewEvent) -> Run:
        """The last batch: what it says, and what the message becomes, in one transaction."""
        return await self._in_turn(events, close)

    def drop(self) -> None:
        """Forget words that were not committed."""
        self._words = ""

    def _pending(self) -> list[NewEvent]:
        words, self._words = self._words, ""
        return [NewEvent(kind="delta", data={"text": words})] if words else []


def data_of(record: Any) -> dict[str, Any]:
    """A frozen record as event data: plain JSON, tuples as lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(record).items()}
