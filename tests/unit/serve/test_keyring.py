"""How long an open stream may go on under its key."""

import asyncio
from typing import Any

import pytest

from perenne.errors import Unauthorized, Unavailable
from perenne.messages.records import Key
from perenne.testing import eventually
from serve import keyring
from serve.keyring import Keyring


class OneKey:
    """A store with one key, that may be away."""

    def __init__(self) -> None:
        self.away, self.asked = False, 0
        self.key = Key(id="k", user_id="u", label="x", scopes=("read",), created_at=0.0)

    async def read(self, method: str, **_: Any) -> Key:
        self.asked += 1
        if self.away:
            raise Unavailable("StoreReader-0", 0.1)
        return self.key


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "TTL_S", 0.05)


async def test_an_outage_of_the_store_ends_nothing_and_the_end_is_seen_after_it(quick: None) -> None:
    store = OneKey()
    ring = Keyring(store)  # type: ignore[arg-type]
    caller = await ring.caller("Bearer pk_x")
    store.away = True
    ending = asyncio.create_task(ring.end_of(caller))
    await eventually(lambda: store.asked >= 4)
    assert not ending.done()
    store.key = Key(id="k", user_id="u", label="x", scopes=("read",), created_at=0.0, revoked_at=1.0)
    store.away = False
    assert isinstance(await asyncio.wait_for(ending, 2), Unauthorized)


async def test_many_streams_under_one_key_ask_for_it_once_at_a_time(quick: None) -> None:
    store = OneKey()
    ring = Keyring(store)  # type: ignore[arg-type]
    caller = await ring.caller("Bearer pk_x")
    waiting = [asyncio.create_task(ring.end_of(caller)) for _ in range(50)]
    await eventually(lambda: store.asked >= 5)
    assert store.asked < 50
    store.key = Key(id="k", user_id="u", label="x", scopes=("read",), created_at=0.0, revoked_at=1.0)
    assert len(await asyncio.wait_for(asyncio.gather(*waiting), 2)) == 50
