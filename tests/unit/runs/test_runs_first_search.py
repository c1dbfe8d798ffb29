"""The search that nobody asked for: it is made when its time has come, and troubles nobody when it can't be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from perenne import names
from perenne.messages.search import ShardHits, ShardQuery
from perenne.testing import eventually


class Counted:
    """A shard, and how often it was searched."""

    def __init__(self, shard: Any) -> None:
        self._shard, self.searches = shard, 0

    async def search(self, query: ShardQuery) -> ShardHits:
        self.searches += 1
        return await self._shard.search(query=query)

    async def applied(self) -> int:
        return await self._shard.applied()


def counted(world: Any) -> Counted:
    shard = names.index_shard(world.space, 0)
    made = Counted(world.part(shard))
    world.directory.put(shard, made)
    return made


@pytest.fixture
async def first(world: Any) -> AsyncIterator[Callable[[], asyncio.Task[None]]]:
    """Begins the first search of the world's host, as the shell does beside its other work."""
    begun: list[asyncio.Task[None]] = []

    def begin() -> asyncio.Task[None]:
        begun.append(asyncio.create_task(world.host.search_first()))
        return begun[-1]

    yield begin
    for task in begun:
        task.cancel()
    await asyncio.gather(*begun, return_exceptions=True)


async def test_a_host_searches_once_by_itself_when_the_embedder_has_come(world, first):
    # The first question after a start waited 0.7 s more for its sources than the next ones.
    shard = counted(world)
    world.embedder.phase = "loading"
    world.embedder.requests.clear()
    searching = first()
    world.directory.calls.clear()
    await eventually(lambda: len(world.directory.calls) >= 2, within_s=5)  # it looks again
    assert shard.searches == 0
    world.embedder.phase = "ready"
    await asyncio.wait_for(searching, 5)

    assert shard.searches == 1
    assert [request.kind for request in world.embedder.requests] == ["query", "query"]
    assert world.language.requests == []


async def test_a_first_search_that_met_a_shard_away_is_made_again(world, first):
    shard = counted(world)
    world.directory.kill(names.index_shard(world.space, 0))
    world.embedder.requests.clear()
    searching = first()
    await eventually(lambda: len(world.embedder.requests) >= 2, within_s=5)
    world.directory.revive(names.index_shard(world.space, 0))
    await asyncio.wait_for(searching, 10)
    assert shard.searches == 1


async def test_answers_go_on_while_a_first_search_cannot_be_made(world, first):
    world.directory.hang(names.EMBEDDING)
    searching = first()
    posted = await world.post("Who built the steam engine?")
    events = await world.ended(posted.run.id)
    assert events[-1].kind == "done"
    assert not searching.done()
