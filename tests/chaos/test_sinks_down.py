"""What takes our messages is away for an hour: sinks that really listen, messages in a real outbox, sent as they are in earnest. Only the
hour is not waited for: the clock is moved on."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import orjson
import pytest

from actors.alerts.channels.signature import new_secret
from actors.alerts.notifier import Notifier
from actors.alerts.notifier_bell import MemoryBell
from actors.alerts.outgoing import Sender
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.settings import OutgoingSettings
from perenne.testing import eventually
from tests.chaos.recorder import Recorder
from tests.contract.sinks import HttpSink
from tests.unit.alerts.notifier_house import NotifierHouse
from tests.unit.store.store_house import StoreHouse

PROMISE = "every message arrives once the sink is back, in order, at most one duplicate each"
HOUR_S, LONGEST_PAUSE_S = 3_600.0, 900.0
SEEDS = range(1, int(os.environ.get("PERENNE_CHAOS_ROUNDS", "1")) + 1)


class TornSink(HttpSink):
    """Takes a message and is gone before it has answered, where it is told to be."""

    torn = False

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        if self.torn:
            self.torn = False
            to.close_connection = True
            return
        super().answer(to)


@pytest.fixture
def sinks() -> Iterator[dict[str, TornSink]]:
    made = {name: TornSink() for name in ("down", "torn", "well", "hung")}
    yield made
    for sink in made.values():
        sink.close()


@pytest.fixture
async def there(tmp_path: Path, sinks: dict[str, TornSink]) -> AsyncIterator[NotifierHouse]:
    """A channel and a subscriber of each sink but the hung one, and a Notifier that sends to them."""
    house = StoreHouse(tmp_path / "home")
    made, sender = NotifierHouse(house), Sender(OutgoingSettings(allow=("127.0.0.1/32",)), limit_s=10.0)
    for name in ("down", "torn", "well"):
        subscribe(made, name, sinks[name].url())
    made.notifier = Notifier("Notifier", made.outbox, sender, MemoryBell(), made.clock, seed=1, poll_s=0.1)
    yield made
    await made.notifier.close()
    await sender.close()
    house.close()


def subscribe(there: NotifierHouse, name: str, url: str) -> None:
    made = {"name": name, "kind": "webhook", "url": url, "address": "http://…", "signing_secret": new_secret()}
    there.house.do(a.CreateChannel, user_id=c.OWNER, channel_id=name, **made)
    there.house.do(a.CreateSubscriber, user_id=c.OWNER, subscriber_id=name, name=name, channel_id=name, severity="debug")


def heard(sink: HttpSink) -> list[str]:
    """The alerts that a sink has heard of, in order, each when it first did."""
    return list(dict.fromkeys(orjson.loads(got.body)["data"]["alert_id"] for got in sink.got))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_sink_that_was_down_for_an_hour_has_every_message_afterwards(
    there: NotifierHouse, sinks: dict[str, TornSink], recorder: Recorder, seed: int
) -> None:
    chance = random.Random(seed)
    told = there.tell(chance.randrange(1, 4))
    await there.work()
    sinks["down"].down()
    sinks["torn"].torn = True
    told += there.tell(1)
    await there.work()
    sinks["torn"].down()
    for _ in range(4):
        told += there.tell(chance.randrange(3))
        await there.pass_time(HOUR_S / 4)
    assert heard(sinks["well"]) == told, "a sink that is down holds another up"
    assert heard(sinks["down"]) != told
    back_at = there.clock.now()
    sinks["down"].up()
    sinks["torn"].up()
    while there.deliveries("pending"):
        await there.pass_time(30.0)
        assert there.clock.now() - back_at <= LONGEST_PAUSE_S + 60.0, "it is tried too seldom"
    for name in ("down", "torn", "well"):
        assert heard(sinks[name]) == told, name
        times = Counter(got.key for got in sinks[name].got)
        assert max(times.values()) <= (2 if name == "torn" else 1), f"{name}: more than one duplicate"
        assert len(times) == len(told), f"{name}: a message came under two keys"
    assert [each.state for each in there.deliveries()] == ["delivered"] * (3 * len(told))
    recorder.round("sinks are down for an hour", PROMISE, there.clock.now() - back_at, acknowledged=3 * len(told))


async def test_a_sink_that_never_answers_delays_no_other(
    there: NotifierHouse, sinks: dict[str, TornSink], recorder: Recorder
) -> None:
    subscribe(there, "hung", sinks["hung"].url("/hang"))
    running = asyncio.create_task(there.notifier.run())
    try:
        loop = asyncio.get_running_loop()
        told = there.tell(1)
        there.notifier.wake()
        await eventually(lambda: len(sinks["hung"].got) == 1, within_s=60)
        begun = loop.time()
        told += there.tell(3)
        there.notifier.wake()
        for name in ("down", "torn", "well"):
            await eventually(lambda name=name: heard(sinks[name]) == told, within_s=60)
        took_s = loop.time() - begun
        first = next(each for each in there.deliveries() if each.channel_id == "hung")
        assert first.state in ("leased", "pending"), "it was given up or taken for delivered"
        assert first.state == "leased" or first.attempt == 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    recorder.round("a sink never answers", "it delays no other", took_s, acknowledged=3 * len(told))
