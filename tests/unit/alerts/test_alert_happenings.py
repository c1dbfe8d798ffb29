"""What the Supervisor did becomes alerts: each once, whoever dies in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.alerts.happenings import Memory, Place, fresh, is_other, steps
from perenne import names
from perenne.messages.health import EventKind, SupervisionEvent
from tests.unit.alerts.test_alert_rules import RULES
from tests.unit.alerts.test_alert_watch import Instance


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path)
    yield made
    made.house.close()


def event(seq: int, kind: EventKind, subject: str = "RunHost", at: float | None = None) -> SupervisionEvent:
    return SupervisionEvent(seq=seq, at=float(seq) if at is None else at, kind=kind, subject=subject)


@pytest.mark.parametrize(
    ("seqs", "place", "other"),
    [
        ([(7, 7.0), (8, 8.0)], Place(7, 7.0), False),
        ([(500, 500.0)], Place(7, 7.0), False),  # it is full: what was heard last was dropped at its beginning
        ([(7, 9.0), (8, 10.0)], Place(7, 7.0), True),  # the last lines were lost, and others have their numbers
        ([], Place(7, 7.0), True),  # begun anew, and shorter
        ([(1, 1.0)], Place(), False),
    ],
)
def test_numbers_that_begin_anew_are_seen(seqs: list[tuple[int, float]], place: Place, other: bool) -> None:
    assert is_other(tuple(event(seq, "child_died", at=at) for seq, at in seqs), place) is other


def test_what_was_not_heard_yet_is_told_by_number_and_by_time_where_numbers_begin_anew() -> None:
    events = tuple(event(seq, "child_died", at=100.0 * seq) for seq in range(1, 6))
    assert [each.seq for each in fresh(events, Place(3, 300.0), 600.0, other=False)] == [4, 5]
    assert [each.seq for each in fresh(events, Place(9, 350.0), 600.0, other=True)] == [4, 5]
    assert [each.seq for each in fresh(events, Place(), 3_850.0, other=False)] == [3, 4, 5], "of the last hour only"
    ahead = Place(9, 9e9)
    assert [each.seq for each in fresh(events, ahead, 600.0, other=True)] == [1, 2, 3, 4, 5], "the clock was ahead then"


def test_what_begins_and_what_ends_it_are_never_heard_at_once() -> None:
    happened = [
        event(1, "child_died"), event(2, "group_held", "database"), event(3, "group_recovered", "database"),
        event(4, "group_held", "database"), event(5, "started", "session"), event(6, "disk_low", "disk"),
    ]  # fmt: skip
    found = steps(happened)
    assert [[(signal.name, signal.value) for signal in step.signals] for step in found] == [
        [("child.died", 1.0), ("group.held", 1.0)], [("group.held", 0.0)], [("group.held", 1.0)], [], [],
    ]  # fmt: skip
    assert [step.place.seq for step in found] == [2, 3, 4, 5, 6]
    assert found[3].covers == ("group.held",), "a new run holds nothing"


def test_a_place_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "alerts" / "heard.json"
    Memory(path).keep(Place(7, 7.5), "origin")
    assert (Memory(path).place, Memory(path).origin) == (Place(7, 7.5), "origin")
    path.write_text('{"place": {"seq"')
    assert Memory(path).place == Place()


async def test_a_crash_is_told_with_the_id_of_its_record_and_is_over_when_it_stays_up(instance: Instance) -> None:
    instance.supervisor.note("child_died", "RunHost", "RunHost (process 7) was ended by SIGKILL", record="20261126T1-RunHost-7")
    await instance.pass_time(60)
    alert = instance.open()["child_died/RunHost"]
    assert alert.text == "RunHost (process 7) was ended by SIGKILL. Its record is 20261126T1-RunHost-7."
    assert instance.told() == [("RunHost died and was started again", "firing")]
    await instance.pass_time(660)
    assert instance.open() == {}


async def test_a_crash_loop_that_ends_in_a_hold_is_told_by_its_hold(instance: Instance) -> None:
    """Hundreds of deaths; the Supervisor's status says how often it was started, its events that it died, and that it is held."""
    for n in range(1, 200):
        instance.supervisor.put("RunHost", state="starting" if n < 12 else "held", restarts=min(n, 12))
        if n % 100 == 1:
            instance.supervisor.note("child_died", "RunHost", "it died")
        if n == 12:
            instance.supervisor.note("group_held", "RunHost", "RunHost started 11 times in 60 s")
        await instance.pass_time(3)
    assert {alert.fingerprint for alert in instance.open().values() if alert.inhibited_by is None} == {"group_held/RunHost"}
    told = instance.told()
    assert told == [("RunHost keeps dying", "firing"), ("RunHost cannot stay up and is held", "firing")], "each of them once"


async def test_a_hold_that_was_over_before_anybody_listened_is_told_all_the_same(instance: Instance) -> None:
    await instance.pass_time(30)
    instance.supervisor.note("group_held", "database", "StoreWriter started 11 times in 60 s")
    instance.supervisor.note("group_recovered", "database")
    await instance.pass_time(90)
    assert instance.open() == {}
    title = "database cannot stay up and is held"
    assert instance.told() == [(title, "firing"), (title, "resolved")]


async def test_killed_at_any_moment_nothing_is_missed_and_nothing_is_told_twice(instance: Instance) -> None:
    wanted = []
    for n in range(12):
        subject = f"Child-{n}"
        instance.supervisor.note("child_hung" if n % 2 else "child_died", subject, "it did")
        wanted.append(subject)
        await instance.pass_time(3 * (n % 5))
        instance.rise()
    await instance.pass_time(60)
    begun = sorted(title.partition(" ")[0] for title, what in instance.told() if what == "firing")
    assert begun == sorted(wanted)


async def test_what_happens_while_the_database_is_away_is_told_when_it_is_back(instance: Instance) -> None:
    await instance.pass_time(6)
    instance.directory.kill(names.STORE_WRITER)
    instance.supervisor.note("child_died", "IngestHost", "it died")
    await instance.pass_time(30)
    instance.rise()
    await instance.pass_time(30)
    assert instance.told() == []
    instance.directory.revive(names.STORE_WRITER)
    await instance.pass_time(120)
    assert ("IngestHost died and was started again", "firing") in instance.told()
    assert len([title for title, _ in instance.told() if title.startswith("IngestHost")]) == 1


async def test_what_began_and_was_over_while_the_database_was_away_is_told_too_where_it_is_not_critical(
    instance: Instance,
) -> None:
    """What is critical is kept in a file; of what is not, the end would have been heard before the beginning was written."""
    instance.rules = tuple(rule.model_copy(update={"severity": "warning"}) for rule in RULES if rule.name == "group_held")
    instance.rise()
    await instance.pass_time(6)
    instance.directory.kill(names.STORE_WRITER)
    instance.supervisor.note("group_held", "RunHost", "RunHost started 11 times in 60 s")
    instance.supervisor.note("group_recovered", "RunHost")
    await instance.pass_time(60)
    instance.directory.revive(names.STORE_WRITER)
    await instance.pass_time(90)
    title = "RunHost cannot stay up and is held"
    assert instance.told() == [(title, "firing"), (title, "resolved")]


async def test_a_record_that_was_begun_anew_is_followed_and_nothing_of_it_is_old(instance: Instance) -> None:
    for n in range(5):
        instance.supervisor.note("child_died", f"Old-{n}", "it died")
    await instance.pass_time(60)
    before = len(instance.told())
    instance.supervisor.happened.clear()
    instance.supervisor.note("started", "session-2")
    instance.supervisor.note("child_died", "New", "it died")
    await instance.pass_time(60)
    assert [title.partition(" ")[0] for title, _ in instance.told()[before:]] == ["New"]


async def test_a_group_that_is_held_is_let_off_by_a_new_run(instance: Instance) -> None:
    instance.supervisor.note("group_held", "database", "StoreWriter started 11 times in 60 s")
    await instance.pass_time(60)
    assert "group_held/database" in instance.open()
    instance.supervisor.note("started", "session-2")
    await instance.pass_time(60)
    assert instance.open() == {}
