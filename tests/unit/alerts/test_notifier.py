"""What is in the outbox arrives: in order, once, whatever is down meanwhile. Time is a clock that the tests move."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from actors.alerts.channels.order import Order, Sent
from actors.alerts.notifier import LEASE_S
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.testing import eventually
from tests.unit.alerts.notifier_house import NotifierHouse
from tests.unit.store.store_house import StoreHouse

HOUR_S = 3_600.0
REFUSED = Sent(ok=False, words="Connection refused")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[NotifierHouse]:
    house = StoreHouse(tmp_path)
    yield NotifierHouse(house)
    house.close()


async def test_each_message_arrives_once_in_order_signed_and_under_its_own_key(there: NotifierHouse) -> None:
    there.channel("one")
    told = there.tell(5)
    await there.work()
    assert there.told("one") == told
    assert there.sinks.keys("https://one.example") == [each.id for each in there.deliveries("delivered")]
    order = there.sinks.got[0]
    assert (order.kind, order.secrets, order.title) == ("webhook", ("whsec_a",), "Perenne: [warning] Disk 1")
    await there.pass_time(HOUR_S)
    assert there.told("one") == told
    assert there.notifier.figures == {"delivered": 5, "failed": 0, "dead": 0}


async def test_a_sink_that_is_down_for_an_hour_has_every_message_afterwards_once_and_in_order(there: NotifierHouse) -> None:
    there.channel("one")
    there.channel("other")
    there.sinks.down["https://one.example"] = REFUSED
    told: list[str] = []
    for _ in range(12):
        told += there.tell(3)
        await there.pass_time(HOUR_S / 12)
        assert there.told("other") == told  # nobody else waits
    tries = len([order for order in there.sinks.tried if order.url == "https://one.example"])
    assert 8 <= tries <= 20  # and the sink is not hammered
    assert len({order.key for order in there.sinks.tried if order.url == "https://one.example"}) == 1  # the first, all the time
    del there.sinks.down["https://one.example"]
    await there.pass_time(900.0)
    assert there.told("one") == told
    assert there.deliveries("dead") == there.deliveries("pending") == ()


async def test_a_restart_amid_an_outage_neither_hurries_nor_overtakes(there: NotifierHouse) -> None:
    there.channel("one")
    there.sinks.down["https://one.example"] = REFUSED
    told = there.tell(4)
    await there.pass_time(600.0)
    tries = len(there.sinks.tried)
    for n in range(3):
        there.start(worker=f"Notifier on PC {n}")
        await there.work()
    assert len(there.sinks.tried) == tries  # the pause of the first message is the channel's
    del there.sinks.down["https://one.example"]
    await there.pass_time(900.0)
    assert there.told("one") == told


async def test_a_slow_sink_delays_no_other(there: NotifierHouse) -> None:
    there.channel("slow")
    there.channel("quick")
    there.sinks.hung.add("https://slow.example")
    told = there.tell(5)
    running = asyncio.create_task(there.notifier.run())
    await eventually(lambda: there.told("quick") == told)
    assert there.told("slow") == []
    await eventually(lambda: there.notifier.queue == 1)  # what was sent last is being written down
    there.sinks.hung.clear()
    await eventually(lambda: there.told("slow") == told)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_a_dead_sender_held_is_taken_again_by_its_next_at_once_by_another_when_the_lease_is_over(
    there: NotifierHouse,
) -> None:
    there.channel("one")
    told = there.tell(2)
    there.sinks.hung.add("https://one.example")
    assert await there.notifier.round()
    await eventually(lambda: len(there.sinks.tried) == 1)
    await there.notifier.close()  # dies while it sends
    there.sinks.hung.clear()
    there.start(worker="another")
    await there.work()
    assert there.told("one") == []
    there.start()
    await there.work()
    assert there.told("one") == told
    there.tell(1)
    there.sinks.hung.add("https://one.example")
    assert await there.notifier.round()
    await eventually(lambda: len(there.sinks.tried) == 4)
    await there.notifier.close()
    there.sinks.hung.clear()
    there.start(worker="another")
    await there.pass_time(LEASE_S + 1)
    assert len(there.told("one")) == 3
    assert len(set(there.sinks.keys("https://one.example"))) == 3


async def test_a_message_that_was_sent_is_written_down_once_the_database_is_back_and_not_sent_again(
    there: NotifierHouse,
) -> None:
    there.channel("one")
    told = there.tell(1)
    there.sinks.hung.add("https://one.example")
    assert await there.notifier.round()
    await eventually(lambda: len(there.sinks.tried) == 1)
    there.outbox.away = True
    there.sinks.hung.clear()
    await eventually(lambda: there.told("one") == told)
    there.clock.advance(2 * LEASE_S)  # the lease is over; its holder lives
    await asyncio.sleep(0.05)
    there.outbox.away = False
    await there.work()
    assert there.told("one") == told
    assert [each.state for each in there.deliveries()] == ["delivered"]


async def test_a_clock_that_was_ahead_and_is_set_back_holds_nothing_up(there: NotifierHouse) -> None:
    there.channel("one")
    there.clock.set(365 * 86_400.0)
    there.sinks.down["https://one.example"] = REFUSED
    told = there.tell(2)
    await there.work()
    there.sinks.down.clear()
    there.clock.set(-365 * 86_400.0)
    await there.work()
    assert there.told("one") == told


async def test_after_a_day_a_message_is_given_up_and_can_be_sent_again(there: NotifierHouse) -> None:
    there.channel("one")
    there.sinks.down["https://one.example"] = REFUSED
    first, second = there.tell(2)
    await there.pass_time(24 * HOUR_S, 300.0)
    assert there.deliveries("dead") == ()
    await there.pass_time(3 * HOUR_S, 60.0)
    dead = there.deliveries("dead")
    assert [each.alert_id for each in dead] == [first, second]
    assert dead[0].error == "Connection refused"
    del there.sinks.down["https://one.example"]
    third = there.tell(1)
    await there.work()
    for each in dead:
        there.house.do(a.RedeliverDelivery, user_id=c.OWNER, delivery_id=each.id)
    await there.work()
    assert there.told("one") == [*third, first, second]
    assert there.sinks.keys("https://one.example")[1:] == [each.id for each in dead]


async def test_a_message_that_the_sink_finds_wrong_holds_the_others_up_for_minutes(there: NotifierHouse) -> None:
    there.channel("one")
    first, second = there.tell(2)
    there.sinks.down["https://one.example"] = Sent(ok=False, words="HTTP 422", status=422, unfit=True)
    await there.work()
    await there.pass_time(100.0, 5.0)
    assert [each.alert_id for each in there.deliveries("dead")] == [first]
    del there.sinks.down["https://one.example"]
    await there.pass_time(60.0, 5.0)
    assert there.told("one") == [second]


async def test_what_we_cannot_send_ourselves_is_given_up_and_holds_nobody_up(
    there: NotifierHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.channel("one")
    first, second = there.tell(2)
    send = there.sinks.send

    async def broken(order: Order) -> Sent:
        if order.body["data"]["alert_id"] == first:
            raise KeyError("a mistake of ours")
        return await send(order)

    monkeypatch.setattr(there.sinks, "send", broken)
    await there.work()
    await there.pass_time(160.0, 5.0)
    assert [(each.alert_id, each.error) for each in there.deliveries("dead")] == [
        (first, "Perenne could not send it: KeyError")
    ]
    assert there.told("one") == [second]


async def test_quiet_hours_hold_all_but_critical_back_also_what_is_tried_again_in_them(there: NotifierHouse) -> None:
    zone = ZoneInfo("Europe/Madrid")
    evening = datetime(2026, 10, 24, 21, 59, 30, tzinfo=zone).timestamp()  # summer time ends in this night: it has an hour more
    there.clock.advance(evening - there.clock.now())
    there.channel("one", quiet_from="22:00", quiet_until="07:00", time_zone="Europe/Madrid")
    there.sinks.down["https://one.example"] = REFUSED
    early = there.tell(1)
    await there.work()
    assert len(there.sinks.tried) == 1  # at 21:59:30, in vain
    del there.sinks.down["https://one.example"]
    await there.pass_time(60.0, 5.0)  # its next try would be in quiet hours
    assert there.told("one") in ([], early)
    before = there.told("one")
    late = there.tell(2)
    loud = there.tell(1, severity="critical")
    await there.pass_time(9.9 * HOUR_S, 300.0)
    assert there.told("one") == [*before, *loud]
    morning = datetime(2026, 10, 25, 7, 0, tzinfo=zone).timestamp()
    assert morning - evening == pytest.approx(10 * HOUR_S + 30.0)
    await there.pass_time(morning - there.clock.now() + 60.0, 30.0)
    assert sorted(there.told("one")) == sorted([*early, *late, *loud])
    assert there.deliveries("pending") == there.deliveries("dead") == ()


async def test_secrets_of_a_webhook_rotate_with_two_valid_at_once(there: NotifierHouse) -> None:
    there.channel("one")
    signed: list[tuple[str, ...]] = []
    for secret in ("whsec_b", "whsec_c", None):
        there.house.do(a.RotateSecret, user_id=c.OWNER, channel_id="one", signing_secret=secret)
        there.tell(1)
        await there.work()
        signed.append(there.sinks.got[-1].secrets)
    assert signed == [("whsec_b", "whsec_a"), ("whsec_c", "whsec_b"), ("whsec_c",)]


async def test_a_channel_is_tried_at_once_past_what_waits(there: NotifierHouse) -> None:
    there.channel("one")
    there.sinks.down["https://one.example"] = REFUSED
    there.tell(1)
    await there.work()
    trial = await there.notifier.try_channel("one")
    assert (trial.ok, trial.words) == (False, "Connection refused")
    del there.sinks.down["https://one.example"]
    assert (await there.notifier.try_channel("one")).ok
    assert there.sinks.got[-1].title == "Perenne: A test: this channel works"
    assert [each.state for each in there.deliveries()] == ["pending"]


async def test_a_lost_hint_costs_a_poll_and_a_hint_costs_nothing(there: NotifierHouse) -> None:
    there.channel("one")
    there.notifier._poll_s = 0.3
    running = asyncio.create_task(there.notifier.run())
    await asyncio.sleep(0.1)
    told = there.tell(1)  # nobody rings
    await eventually(lambda: there.told("one") == told, within_s=3.0)
    there.notifier._poll_s = 60.0
    await asyncio.sleep(0.4)
    told += there.tell(1)
    there.notifier.wake()
    await eventually(lambda: there.told("one") == told, within_s=3.0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
