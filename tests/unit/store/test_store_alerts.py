"""Alerts in the store: each change with the messages that tell it, and the outbox that they wait in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.store import alerts, changed, hearers, outbox
from perenne.errors import CommandReused, Conflict, InvalidRequest, LeaseLost, NotFound
from perenne.messages import alert_commands as a
from perenne.messages import alerts as al
from perenne.messages import commands as c
from tests.unit.store.store_house import StoreHouse

PACE = a.Pace(wait_s=10.0, interval_s=300.0, window_s=3_600.0, per_fingerprint=6, in_all=60)
SECRET = "https://hooks.example.org/services/T0/very-secret-token"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path)
    made.system(c.CreateUser, new_user_id=c.OWNER, name="owner")
    yield made
    made.close()


def channel(house: StoreHouse, id: str = "chn_1", **fields: Any) -> al.Channel:
    given = {"name": id, "kind": "webhook", "url": SECRET, "address": "https://hooks.example.org/…"} | fields
    return house.do(a.CreateChannel, user_id=c.OWNER, channel_id=id, **given)


def subscriber(house: StoreHouse, id: str = "sub_1", channel_id: str = "chn_1", **fields: Any) -> al.Subscriber:
    return house.do(a.CreateSubscriber, user_id=c.OWNER, subscriber_id=id, channel_id=channel_id, **({"name": id} | fields))


def fire(house: StoreHouse, id: str = "alr_1", fingerprint: str = "disk", **fields: Any) -> al.Alert:
    given = {"severity": "warning", "event": "disk.low", "title": "The disk is nearly full", "group": "disk", "pace": PACE}
    return house.system(a.RaiseAlert, alert_id=id, fingerprint=fingerprint, **(given | fields))


def resolve(house: StoreHouse, id: str = "alr_1") -> al.Alert:
    return house.system(a.ResolveAlert, alert_id=id, pace=PACE)


def outgoing(house: StoreHouse) -> tuple[al.Delivery, ...]:
    return tuple(reversed(house.ask(outbox.list_deliveries, None, 1_000, None).items))


def told(house: StoreHouse) -> list[tuple[str, str, str]]:
    """Every entry in the outbox: to whom, which alert, what about it."""
    return [(row.subscriber_id or row.channel_id, e.alert_id, e.transition) for row in outgoing(house) for e in row.entries]


def lease(house: StoreHouse, **fields: Any) -> tuple[al.Delivery, ...]:
    return house.system(a.LeaseDeliveries, **({"worker": "w", "limit": 10, "lease_s": 30.0, "per_channel": 10} | fields))


def test_an_alert_is_one_row_while_it_fires_and_tells_its_beginning_and_its_end_once(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    first = fire(house)
    again = fire(house, id="alr_2", text="97 % are used", seen=3)
    assert (again.id, again.count, again.text, first.told_at) == ("alr_1", 4, "97 % are used", house.clock.now())
    over = resolve(house)
    assert resolve(house) == over
    assert told(house) == [("sub_1", "alr_1", "firing"), ("sub_1", "alr_1", "resolved")]
    assert len(outgoing(house)) == 1, "they are of one group, and its message had not gone"
    assert house.ask(alerts.open_alerts) == ()
    assert fire(house, id="alr_3").id == "alr_3"


def test_a_command_that_is_sent_again_doubles_nothing(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    for _ in range(2):
        fire(house, command_id="raise")
    assert told(house) == [("sub_1", "alr_1", "firing")]
    with pytest.raises(CommandReused):
        fire(house, command_id="raise", title="another")
    house.clock.advance(60)
    first = lease(house, command_id="lease")
    assert lease(house, command_id="lease") == first
    done = [
        house.system(a.FinishDelivery, command_id="f", delivery_id=first[0].id, lease_token=first[0].lease_token or "")
        for _ in range(2)
    ]
    assert done[0] == done[1]
    assert done[0].state == "delivered"
    assert lease(house, command_id="lease") == ()


def test_who_hears_of_it_goes_by_event_severity_and_level(house: StoreHouse) -> None:
    channel(house)
    subscriber(house, "all", severity="debug")
    subscriber(house, "loud", severity="critical")
    subscriber(house, "backups", events=("backup.*",))
    subscriber(house, "disks", events=("disk.*",))
    subscriber(house, "second", level=1)
    fire(house)
    assert {who for who, _, _ in told(house)} == {"all", "disks"}
    fire(house, severity="critical")
    assert sorted(told(house)) == [
        ("all", "alr_1", "firing"), ("all", "alr_1", "worse"),
        ("disks", "alr_1", "firing"), ("disks", "alr_1", "worse"),
        ("loud", "alr_1", "worse"),
    ]  # fmt: skip
    house.system(a.EscalateAlert, alert_id="alr_1", level=1, pace=PACE)
    house.system(a.EscalateAlert, alert_id="alr_1", level=1, pace=PACE)
    escalated = [who for who, _, what in told(house) if what == "escalated"]
    assert sorted(escalated) == ["all", "disks", "loud", "second"]


def test_an_acknowledged_alert_is_not_escalated(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    fire(house, severity="critical")
    seen = house.do(a.AcknowledgeAlert, alert_id="alr_1", by="ana", user_id=c.OWNER)
    house.clock.advance(5)
    assert house.do(a.AcknowledgeAlert, alert_id="alr_1", by="bob", user_id=c.OWNER) == seen
    house.system(a.EscalateAlert, alert_id="alr_1", level=1, pace=PACE)
    assert [what for _, _, what in told(house)] == ["firing"]


def test_a_group_is_one_message_within_its_window_and_the_next_keeps_its_distance(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    began = house.clock.now()
    fire(house)
    house.clock.advance(5)
    fire(house, "alr_2", "disk-of-logs")
    fire(house, "alr_3", "memory", group="memory")
    assert [(len(row.entries), row.next_at - began) for row in outgoing(house)] == [(2, 10.0), (1, 15.0)]
    house.clock.advance(20)
    fire(house, "alr_4", "disk-of-models")
    last = outgoing(house)[-1]
    assert (len(last.entries), last.next_at - began) == (1, 310.0)


def test_a_silenced_alert_is_told_when_the_silence_is_over_and_never_when_it_ended_before(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    fire(house, "loud", "loud", labels={"child": "b"})
    house.do(a.CreateSilence, user_id=c.OWNER, silence_id="sil_1", events=("disk.*",), length_s=600, labels={"child": "a"})
    fire(house, "alr_1", labels={"child": "a"})
    assert house.ask(alerts.find_alert, "alr_1").silenced_by == "sil_1"
    resolve(house)
    fire(house, "alr_2", labels={"child": "a"})
    assert told(house) == [("sub_1", "loud", "firing")]
    house.clock.advance(601)
    fire(house, "alr_3", labels={"child": "a"})
    assert told(house)[1:] == [("sub_1", "alr_2", "firing")]
    house.do(a.CreateSilence, user_id=c.OWNER, silence_id="sil_2", events=("*",), length_s=999)
    assert {alert.silenced_by for alert in house.ask(alerts.open_alerts)} == {"sil_2"}
    house.do(a.DeleteSilence, user_id=c.OWNER, silence_id="sil_2")
    assert {alert.silenced_by for alert in house.ask(alerts.open_alerts)} == {None}


def test_what_follows_from_another_alert_is_told_once_it_stands_alone(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    fire(house, inhibited_by="alr_0")
    assert told(house) == []
    resolve(house)
    assert told(house) == [], "nobody knew of it: nobody is told that it is over"
    fire(house, "alr_2", inhibited_by="alr_0")
    fire(house, "alr_2")
    assert told(house) == [("sub_1", "alr_2", "firing")]


def test_what_comes_too_often_is_held_back_and_told_in_a_summary(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    for n in range(20):
        fire(house, f"alr_{n}")
        house.clock.advance(10)
        resolve(house, f"alr_{n}")
        house.clock.advance(10)
    assert len(told(house)) == PACE.per_fingerprint
    assert house.system(a.SummarizeHeld, pace=PACE) == a.Held(count=0)
    house.clock.advance(3_600)
    assert house.system(a.SummarizeHeld, pace=PACE).count == 34
    assert house.system(a.SummarizeHeld, pace=PACE).count == 0
    last = outgoing(house)[-1].entries
    assert [(entry.transition, entry.text) for entry in last] == [
        ("summary", "34 changes of this were held back, so that you are not flooded. It is over now.")
    ]


def test_the_limit_on_all_messages_spares_critical_ones(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    pace = a.Pace(in_all=3)
    for n in range(9):
        fire(house, f"alr_{n}", f"of-{n}", pace=pace)
    fire(house, "worst", "worst", severity="critical", pace=pace)
    assert [alert for _, alert, _ in told(house)] == ["alr_0", "alr_1", "alr_2", "worst"]


def test_quiet_hours_put_off_all_but_critical_messages(house: StoreHouse) -> None:
    channel(house)
    midnight = house.clock.now() // 86_400 * 86_400 + 86_400
    house.clock.advance(midnight - house.clock.now())
    subscriber(house, quiet_from="22:00", quiet_until="07:00")
    fire(house)
    assert outgoing(house)[0].next_at == midnight + 7 * 3_600
    fire(house, "worst", "worst", severity="critical", group="other")
    assert outgoing(house)[1].next_at == midnight + 10
    fire(house, "worse", "worse", severity="critical")
    assert outgoing(house)[0].next_at == midnight, "what waited for the morning goes with it"


def test_a_delivery_is_leased_by_one_retried_given_up_and_sent_again(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    fire(house)
    assert lease(house) == (), "its group may bring more"
    house.clock.advance(10)
    (one,) = lease(house)
    assert (one.attempt, one.state, one.worker) == (1, "leased", "w")
    assert lease(house, worker="other") == ()
    with pytest.raises(LeaseLost):
        house.system(a.FinishDelivery, delivery_id=one.id, lease_token="wrong")
    put_off = {"delivery_id": one.id, "lease_token": one.lease_token, "error": "no answer within 10 s"}
    assert house.system(a.FailDelivery, retry_in_s=60.0, **put_off).state == "pending"
    assert house.ask(hearers.list_channels)[0].error == "no answer within 10 s"
    assert lease(house) == ()
    assert house.ask(outbox.next_delivery_at) == house.clock.now() + 60
    house.clock.advance(60)
    (two,) = lease(house)
    house.clock.advance(31)
    (three,) = lease(house, worker="other")
    assert (three.id, three.attempt) == (one.id, 3), "a lease that ran out is anybody's"
    with pytest.raises(LeaseLost):
        house.system(a.FinishDelivery, delivery_id=two.id, lease_token=two.lease_token)
    (four,) = lease(house, worker="other", take_back=True)
    gone = {"delivery_id": one.id, "lease_token": four.lease_token, "error": "no such address"}
    assert house.system(a.FailDelivery, retry_in_s=None, **gone).state == "dead"
    with pytest.raises(NotFound):
        house.do(a.RedeliverDelivery, delivery_id="dlv_none")
    assert house.do(a.RedeliverDelivery, delivery_id=one.id, user_id=c.OWNER).state == "pending"
    with pytest.raises(Conflict):
        house.do(a.RedeliverDelivery, delivery_id=one.id, user_id=c.OWNER)
    (last,) = lease(house)
    arrived = house.system(a.FinishDelivery, delivery_id=last.id, lease_token=last.lease_token)
    assert (arrived.id, arrived.state) == (one.id, "delivered")
    assert house.ask(hearers.list_channels)[0].delivered_at == house.clock.now()


@pytest.mark.parametrize("years", [1, -1])
def test_a_clock_that_was_wrong_holds_no_message_back(house: StoreHouse, years: int) -> None:
    channel(house)
    subscriber(house)
    fire(house)
    house.clock.advance(10)
    (one,) = lease(house)
    house.clock.set(years * 365 * 86_400.0)
    (two,) = lease(house, worker="other")
    assert two.id == one.id
    late = {"delivery_id": two.id, "lease_token": two.lease_token, "error": "no answer within 10 s"}
    house.system(a.FailDelivery, retry_in_s=900.0, **late)
    house.clock.set(years * 365 * 86_400.0)
    (three,) = lease(house, worker="other")
    assert three.id == one.id


def test_a_channel_with_much_to_send_keeps_no_other_waiting(house: StoreHouse) -> None:
    for id in ("slow", "quick"):
        channel(house, id)
        subscriber(house, f"to-{id}", id, events=(f"{id}.*",))
    for n in range(5):
        fire(house, f"slow_{n}", f"slow_{n}", event="slow.x", group=f"g{n}")
    house.clock.advance(20)
    fire(house, "q", "q", event="quick.x", group="q")
    house.clock.advance(20)
    leased = lease(house, limit=2, per_channel=1)
    assert [row.channel_id for row in leased] == ["slow", "quick"]
    assert lease(house, per_channel=1) == ()
    assert [row.channel_id for row in lease(house, per_channel=2, but_channels=("quick",))] == ["slow"]


def test_a_channels_secrets_are_its_senders_alone(house: StoreHouse, caplog: pytest.LogCaptureFixture) -> None:
    made = channel(house, signing_secret="whsec_secret")
    assert "secret" not in repr(made)
    held = house.ask(hearers.channel_secret, "chn_1")
    assert (held.url, held.signing_secret) == (SECRET, "whsec_secret")
    assert "secret" not in repr(held).replace("signing_secret", "").replace("ChannelSecret", "")
    sent = a.CreateChannel(command_id="x", user_id="u", channel_id="c", name="n", kind="webhook", url=SECRET, address="a")
    assert "token" not in repr(sent)
    with pytest.raises(Conflict) as raised:
        channel(house, "chn_2", name="chn_1")
    assert "token" not in str(raised.value) + caplog.text
    assert "token" not in str(house.rows("SELECT body, result FROM commands")) + str(house.rows("SELECT * FROM changes"))
    subscriber(house)
    fire(house)
    house.do(a.DeleteChannel, channel_id="chn_1", user_id=c.OWNER)
    assert house.ask(hearers.list_subscribers) == outgoing(house) == ()


def test_a_test_goes_to_one_channel_or_to_every_subscriber(house: StoreHouse) -> None:
    channel(house)
    subscriber(house, severity="critical")
    subscriber(house, "sub_2", level=3)
    assert house.do(a.TestAlert, alert_id="t1", channel_id="chn_1", user_id=c.OWNER).state == "resolved"
    house.do(a.TestAlert, alert_id="t2", user_id=c.OWNER)
    assert told(house) == [("chn_1", "t1", "test"), ("sub_1", "t2", "test"), ("sub_2", "t2", "test")]
    with pytest.raises(NotFound):
        house.do(a.TestAlert, alert_id="t3", channel_id="chn_none", user_id=c.OWNER)


def test_what_is_over_for_long_is_forgotten_and_what_fires_is_not(house: StoreHouse) -> None:
    channel(house)
    subscriber(house)
    fire(house, "old")
    resolve(house, "old")
    fire(house, "open", "open")
    house.clock.advance(100)
    fire(house, "new", "new")
    resolve(house, "new")
    assert house.system(a.ForgetAlerts, before=house.clock.now() - 50).count == 1
    assert {alert.id for alert in house.ask(alerts.list_alerts, None, 10, None).items} == {"open", "new"}
    assert {alert for (alert,) in house.rows("SELECT DISTINCT alert_id FROM alert_events")} == {"open", "new"}


def test_alerts_come_by_pages_and_the_owner_is_told_of_each_change(house: StoreHouse) -> None:
    for n in range(5):
        fire(house, f"alr_{n}", f"of-{n}")
        house.clock.advance(1)
    found, after = [], None
    while True:
        page = house.ask(alerts.list_alerts, "firing", 2, after)
        found += [alert.id for alert in page.items]
        if (after := page.next) is None:
            break
    assert found == [f"alr_{n}" for n in (4, 3, 2, 1, 0)]
    seen = house.ask(changed.list_changes, c.OWNER, 0, 100).items
    assert {change.id for change in seen if change.entity == "alert"} == set(found)


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (a.CreateSilence, {"silence_id": "s", "length_s": 9}, "says what it keeps quiet"),
        (a.CreateSilence, {"silence_id": "s", "length_s": 0.0, "events": ("*",)}, "lasts for up to"),
        (a.CreateSilence, {"silence_id": "s", "length_s": 9, "events": ("A b",)}, "expected an event type"),
        (a.CreateSubscriber, {"quiet_from": "25:00", "quiet_until": "07:00"}, "expected a time such as 22:00, got '25:00'"),
        (a.CreateSubscriber, {"quiet_from": "22:00"}, "a beginning and an end"),
        (a.CreateSubscriber, {"time_zone": "Europe/Nowhere"}, "expected a time zone"),
        (a.CreateSubscriber, {"severity": "loud"}, "expected one of debug"),
        (a.CreateSubscriber, {"level": 11}, "from 0 to 10"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(house: StoreHouse, kind: Any, fields: Any, said: str) -> None:
    channel(house)
    if kind is a.CreateSubscriber:
        fields = {"subscriber_id": "s", "name": "n", "channel_id": "chn_1"} | fields
    with pytest.raises(InvalidRequest, match=said):
        house.do(kind, user_id=c.OWNER, **fields)
