"""A shard at the head of its feed: pushed, polled, through outages and restored databases."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from index_model import Model, unit_vectors

from actors.index.follower import LINK_NICE, Follower
from actors.index.gate import SequenceGate
from actors.index.linking import linked
from actors.index.policy import USUAL, Limits
from actors.index.shard import Shard
from actors.index.snapshot import ShardSpec
from perenne.errors import Unavailable
from perenne.messages.search import Feed, ShardQuery
from perenne.testing import eventually

QUERY = ShardQuery(vector=unit_vectors(1, 5).tobytes(), k=200, user_id="u0", project_ids=("p0",))


class ModelFeed:
    """The feed of a model. `push` False: the writer says nothing; `down`: the store is away."""

    def __init__(self, model: Model, *, push: bool = True, page: int = 3) -> None:
        self.model, self.push, self.page, self.down, self.fetched = model, push, page, False, 0

    async def feed(self, after_seq: int, limit_bytes: int) -> Feed:
        if self.down:
            raise Unavailable("StoreReader-0", 0.1)
        self.fetched += 1
        return self.model.feed(after_seq, self.page)

    async def heads(self, after: int) -> AsyncIterator[int]:
        if self.down or not self.push:
            raise Unavailable("StoreWriter", 0.1)
        for _ in range(200):
            yield self.model.seq
            await asyncio.sleep(0.01)


@contextmanager
def following(folder: Path, source: ModelFeed, poll_s: float = 60.0, limits: Limits = USUAL, **options: Any) -> Any:
    shard = Shard(folder, ShardSpec("space", "model"), limits=limits)
    shard.open()
    follower = Follower(shard, lambda: source, poll_s=poll_s, **options)
    follower.start()
    try:
        yield shard, follower
    finally:
        follower.stop()
        assert not follower._thread.is_alive()


def grow(model: Model, documents: int = 10) -> None:
    for n in range(documents):
        model.write("set", f"doc_{n}", project_ids=("p0",), languages=["en"] * 4, vectors=unit_vectors(4, model.seq))


async def caught_up(shard: Shard, model: Model) -> None:
    await eventually(lambda: shard.applied == model.seq)
    assert shard.search(QUERY) == model.search(QUERY)


async def test_what_is_written_is_found_without_polling(tmp_path: Path) -> None:
    model = Model()
    with following(tmp_path, ModelFeed(model)) as (shard, _):
        for _ in range(3):
            grow(model)
            await caught_up(shard, model)


async def test_polling_is_the_net_when_the_writer_says_nothing(tmp_path: Path) -> None:
    model = Model()
    with following(tmp_path, ModelFeed(model, push=False), poll_s=0.05) as (shard, _):
        grow(model)
        await caught_up(shard, model)


async def test_a_search_that_waits_for_a_sequence_wakes_the_follower(tmp_path: Path) -> None:
    model = Model()
    source = ModelFeed(model, push=False)
    with following(tmp_path, source) as (shard, follower):
        await eventually(lambda: source.fetched)
        grow(model)
        assert not await follower.gate.wait(model.seq, 0.05)
        follower.nudge()
        assert await follower.gate.wait(model.seq, 5.0)
        assert shard.applied == model.seq


async def test_an_outage_of_the_store_is_said_and_survived(tmp_path: Path) -> None:
    model, said = Model(), list[str]()
    grow(model)
    source = ModelFeed(model, push=False)
    with following(tmp_path, source, poll_s=0.02, on_trouble=said.append) as (shard, _):
        await caught_up(shard, model)
        source.down = True
        await eventually(lambda: said and "can't be read" in said[-1])
        found = shard.search(QUERY)
        assert found.ids == model.search(QUERY).ids
        source.down = False
        grow(model)
        await caught_up(shard, model)
        assert said[-1] == ""


@pytest.mark.parametrize("restore", ["another origin, further on", "no origin, an older head"])
async def test_a_restored_database_is_followed_from_nothing(tmp_path: Path, restore: str) -> None:
    model = Model(origin="a" if restore.startswith("another") else "")
    grow(model)
    source = ModelFeed(model)
    with following(tmp_path, source, poll_s=0.02) as (shard, _):
        await caught_up(shard, model)
        restored = Model(origin="b" if restore.startswith("another") else "")
        grow(restored, 20 if restore.startswith("another") else 5)
        source.model = restored
        await eventually(lambda: shard.search(QUERY) == restored.search(QUERY))
        grow(restored)
        await caught_up(shard, restored)


async def test_a_disk_that_fails_is_said_and_following_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, said = Model(), list[str]()
    grow(model, 30)

    def full(_shard: Shard, _behind: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Shard, "keep", full)
    with following(tmp_path, ModelFeed(model), on_trouble=said.append) as (shard, _):
        await caught_up(shard, model)
        assert "No space left" in said[-1]


async def test_the_gate_wakes_every_loop_at_its_own_sequence() -> None:
    gate = SequenceGate()
    waiting = [asyncio.create_task(gate.wait(seq, 5.0)) for seq in (3, 5, 9)]
    other = asyncio.to_thread(lambda: asyncio.run(gate.wait(5, 5.0)))
    elsewhere = asyncio.create_task(other)
    done: Callable[[], int] = lambda: sum(task.done() for task in waiting)  # noqa: E731
    await eventually(lambda: len(gate._waiting) == 4)
    gate.reach(5)
    assert await elsewhere
    await eventually(lambda: done() == 2)
    assert not waiting[2].done()
    assert not await gate.wait(9, 0.01)
    gate.reach(10)
    assert await waiting[2]
    assert await gate.wait(10, 0.0)
    assert gate._waiting == []


async def test_a_shard_that_cannot_be_kept_is_followed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Anything but an OSError ended following without a word: the shard stood still, and its health was fine.
    model, troubles = Model(), list[str]()
    monkeypatch.setattr("actors.index.follower.KEEP_S", 0.01)
    with following(tmp_path, ModelFeed(model), on_trouble=troubles.append) as (shard, _):

        def broken(behind: bool = False) -> None:
            raise ValueError("a file that is no index")

        monkeypatch.setattr(shard, "keep", broken)
        await eventually(lambda: any("no index" in each for each in troubles))
        grow(model)
        await caught_up(shard, model)


async def test_a_follower_whose_source_fails_says_so_and_begins_again(tmp_path: Path) -> None:
    # `start` waited for ever for a loop that had ended.
    model, troubles, tries = Model(), list[str](), list[int]()
    shard = Shard(tmp_path, ShardSpec("space", "model"))
    shard.open()

    def source() -> ModelFeed:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("no readers")
        return ModelFeed(model)

    follower = Follower(shard, source, on_trouble=troubles.append, poll_s=0.05)
    await asyncio.to_thread(follower.start)
    try:
        grow(model)
        await caught_up(shard, model)
        assert "no readers" in troubles[0]
    finally:
        follower.stop()
    assert not follower._thread.is_alive()


async def test_a_graph_is_made_beside_the_feed_by_a_thread_that_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, niceness = Model(), list[int]()
    monkeypatch.setattr("actors.index.follower.KEEP_S", 0.01)

    def made(*arguments: Any) -> Any:
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return linked(*arguments)

    monkeypatch.setattr("actors.index.shard.linked", made)
    limits = Limits(kind="hnsw", graph_rows=16, tail_rows=16)
    with following(tmp_path, ModelFeed(model), limits=limits) as (shard, _):
        for _ in range(3):
            grow(model)
            await caught_up(shard, model)
        await eventually(lambda: shard.figures()["linked"] > 16)
        await caught_up(shard, model)
    assert niceness
    assert set(niceness) == {os.getpriority(os.PRIO_PROCESS, 0) + LINK_NICE}


async def test_a_graph_that_cannot_be_made_is_said_and_nothing_else_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, said = Model(), list[str]()
    monkeypatch.setattr("actors.index.follower.KEEP_S", 0.01)

    def broken(*_: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("actors.index.shard.linked", broken)
    limits = Limits(kind="hnsw", graph_rows=16, tail_rows=16)
    with following(tmp_path, ModelFeed(model), limits=limits, on_trouble=said.append) as (shard, _):
        grow(model)
        await eventually(lambda: any("no memory" in each for each in said))
        grow(model)
        await caught_up(shard, model)
