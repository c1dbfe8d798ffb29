"""The edge's house on an event loop in a thread of its own, for clients that block or that run in another process."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.contract.edge_house import House, house_in

T = TypeVar("T")
_WITHIN_S = 30.0


@dataclass
class HouseThread:
    """A house and the loop that it lives on."""

    house: House
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        return self.house.address

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the house's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_WITHIN_S)


@contextmanager
def house_thread(
    folder: Path, language: str = "tiny-language", embedding: str = "use-multilingual-q8", **edge: Any
) -> Iterator[HouseThread]:
    """A house that is up until the context ends."""
    up = threading.Event()
    told: list[HouseThread] = []

    async def live() -> None:
        over = asyncio.Event()
        async with house_in(folder, language=language, embedding=embedding, **edge) as house:
            told.append(HouseThread(house, asyncio.get_running_loop()))
            stop.append(lambda: told[0].loop.call_soon_threadsafe(over.set))
            up.set()
            await over.wait()

    stop: list[Any] = []
    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    if not up.wait(_WITHIN_S):
        raise AssertionError("the house did not come up")
    try:
        yield told[0]
    finally:
        stop[0]()
        thread.join(_WITHIN_S)
