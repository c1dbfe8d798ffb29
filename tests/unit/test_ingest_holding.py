"""A job in hand: its lease is renewed through the store's troubles, and nothing runs on when it is let go."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.ingest import pipeline
from actors.ingest.holding import Holding
from actors.ingest.pipeline import Embedder, Part
from actors.ingest.pulse import Pulse
from perenne.errors import Busy, LeaseLost, PerenneError, StorageFailed
from perenne.messages.commands import Command
from perenne.messages.records import Job
from perenne.testing import FakeDirectory, eventually

JOB = Job(id="j", user_id="u", kind="document", state="running", lease_token="t", created_at=0.0, updated_at=0.0)


class Store:
    """Answers writes with these errors, one each, then well."""

    def __init__(self, *errors: PerenneError) -> None:
        self.errors, self.written = list(errors), list[Command]()

    async def write(self, command: Command, deadline_s: float = 30.0) -> Any:
        self.written.append(command)
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize("error", [StorageFailed("no space left on device"), Busy("StoreWriter", 0.1), PerenneError("odd")])
async def test_a_lease_is_renewed_again_after_the_store_failed_once(error: PerenneError) -> None:
    # A full disk ended the renewing without a word: the job ran on, and its lease ran out under it.
    store = Store(error)
    holding = Holding(JOB, store, 0.03, Pulse())  # type: ignore[arg-type]
    keeping = asyncio.create_task(holding.keep())
    await eventually(lambda: len(store.written) >= 2)
    assert not keeping.done()
    assert not holding.lost.is_set()
    keeping.cancel()


async def test_a_lease_that_is_lost_ends_the_renewing() -> None:
    holding = Holding(JOB, Store(LeaseLost("j")), 0.03, Pulse())  # type: ignore[arg-type]
    await asyncio.wait_for(holding.keep(), 5.0)
    assert holding.lost.is_set()


async def test_nothing_is_left_of_a_pipeline_that_is_cancelled() -> None:
    # The task that waited for the next part was left behind, pending for ever.
    async def never() -> AsyncIterator[Part]:
        await asyncio.Event().wait()
        yield Part((), "", 0, None)

    async def commit(part: Part) -> None:
        raise AssertionError(part)

    running = asyncio.create_task(pipeline.run(never(), Embedder(FakeDirectory(), Pulse(), "space"), commit))
    await eventually(lambda: len(asyncio.all_tasks()) >= 4)
    running.cancel()
    await asyncio.wait([running])
    assert asyncio.all_tasks() == {asyncio.current_task()}
