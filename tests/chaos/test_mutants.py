"""The checks of the other files can fail: each is shown to, against a writer that breaks the promise on purpose."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.chaos.load import Load
from tests.live.running import RunningInstance

ROUNDS = 6  # a kill must fall between an early answer and its commit


@pytest.fixture(params=["answer_before_commit", "no_dedup"])
def mutant(request: pytest.FixtureRequest) -> Iterator[RunningInstance]:
    running = RunningInstance(PERENNE_CHAOS="1", PERENNE_MUTANT=request.param)
    try:
        yield running.start()
    finally:
        running.close()


@pytest.mark.timeout(900)
async def test_a_writer_that_breaks_the_promise_is_caught(mutant: RunningInstance) -> None:
    for _ in range(ROUNDS):
        async with Load(mutant, clients=16) as load:
            await load.acknowledged(60)
            os.kill(mutant.child("StoreWriter").pid, signal.SIGKILL)
            await load.acknowledged(30)
        if not (await load.check()).clean:
            return
    pytest.fail(f"{ROUNDS} kills of a mutant went unnoticed: the check can't fail")
