"""A cancel ends whoever waits, whatever else happens in that moment: `wait_for` of Python 3.11 ate it when what it waited for came."""

import asyncio
from typing import Any

import pytest

from actors.runs.desk import Desk
from actors.runs.live import Feed


class Nothing:
    """A store without open runs."""

    async def read(self, method: str, **_: Any) -> tuple[()]:
        return ()


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("after", range(5))
async def test_a_desk_that_is_cancelled_as_it_is_nudged_ends(after: int) -> None:
    desk = Desk(Nothing(), lambda run: None)  # type: ignore[arg-type, return-value]
    running = asyncio.create_task(desk.run())
    await steps(10)
    desk._nudge.set()
    await steps(after)
    running.cancel()
    await asyncio.wait([running], timeout=1.0)
    assert running.cancelled()


@pytest.mark.parametrize("after", range(5))
async def test_a_follower_that_is_cancelled_as_news_come_ends(after: int) -> None:
    feed = Feed("run", "ana", 0)

    async def follow() -> None:
        while True:
            await feed.wait(0, 60.0)
            await asyncio.sleep(0)

    following = asyncio.create_task(follow())
    await steps(5)
    feed.publish((), closed=False)
    await steps(after)
    following.cancel()
    await asyncio.wait([following], timeout=1.0)
    assert following.cancelled()
