"""The checks of the other files can fail: each is shown to, against an instance that breaks the promise on purpose."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import perenne
from tests.chaos.answers import LONG, QUESTION, assert_whole, watch
from tests.chaos.load import Load
from tests.chaos.passages import CAT, OF_THE_CAT, add, assert_found_by_meaning
from tests.live.running import RunningInstance

ROUNDS = 6  # a kill must fall between an early answer and its commit
PATIENCE_S = 40.0  # what is not taken up again within this never is: the healthy need a few seconds


@pytest.fixture
def mutant(request: pytest.FixtureRequest) -> Iterator[RunningInstance]:
    running = RunningInstance(PERENNE_CHAOS="1", PERENNE_MUTANT=request.param)
    try:
        yield running.start()
    finally:
        running.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", ["answer_before_commit", "no_dedup"], indirect=True)
async def test_a_writer_that_breaks_the_promise_is_caught(mutant: RunningInstance) -> None:
    for _ in range(ROUNDS):
        async with Load(mutant, clients=16) as load:
            await load.acknowledged(60)
            mutant.kill_child("StoreWriter")
            await load.acknowledged(30)
        if not (await load.check()).clean:
            return
    pytest.fail(f"{ROUNDS} kills of a mutant went unnoticed: the check can't fail")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutant", ["no_replay"], indirect=True)
async def test_a_house_that_takes_nothing_up_again_is_caught(mutant: RunningInstance, tmp_path: Path) -> None:
    async with perenne.connect(mutant.address, key=mutant.key) as api:
        await add(api, tmp_path, "default", *CAT)
        await assert_found_by_meaning(api, "default", "cat", OF_THE_CAT, within_s=10)
        (shard,) = [child.name for child in mutant.await_ready().children if child.name.startswith("IndexShard-")]
        mutant.kill_child(shard)
        posted = await api.post(QUESTION, options=LONG)
        waiting = await api.post(QUESTION, conversation_id=posted.run.conversation_id, options=LONG)
        shown = await watch(api, posted.run.id, lambda: mutant.kill_child("RunHost"), within_s=PATIENCE_S)
        with pytest.raises(AssertionError, match="broke off without a word"):
            await assert_whole(api, shown, posted.run.conversation_id, posted.reply.id)
        assert (await api.run(waiting.run.id)).state == "queued", "what waited its turn was answered"
        with pytest.raises(AssertionError, match="not found by meaning"):
            await assert_found_by_meaning(api, "default", "cat", OF_THE_CAT, within_s=10)
