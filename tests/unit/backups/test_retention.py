"""Which backups stay, by a table of cases."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.backups.retention import Retention, kept
from perenne.errors import InvalidRequest

NONE = Retention(hourly=0, daily=0, weekly=0, monthly=0, last=1)


@dataclass(frozen=True)
class Backup:
    id: str
    ordinal: int
    created_at: float


def made(*times: str) -> list[Backup]:
    """Backups made one after the other, when the clock showed these times."""
    return [Backup(f"{n}", n, datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()) for n, time in enumerate(times, 1)]


def every(step: timedelta, count: int, end: str = "2026-11-26T12:30") -> list[Backup]:
    last = datetime.fromisoformat(end)
    return made(*((last - step * back).isoformat() for back in reversed(range(count))))


def hourly(**rules: int) -> Retention:
    return Retention(**{"hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "last": 1, **rules})


CASES = {
    "none at all": ([], Retention(), set()),
    "the only one stays whatever its age": (made("1999-01-01T00:00"), NONE, {"1"}),
    "the last three": (made("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"), hourly(last=3), {"2", "3", "4"}),
    "the newest of an hour": (
        made("2026-11-26T10:05", "2026-11-26T10:55", "2026-11-26T11:00", "2026-11-26T11:59"),
        hourly(hourly=24),
        {"2", "4"},
    ),
    "hours that have none don't count": (
        made("2026-11-20T10:00", "2026-11-23T10:00", "2026-11-26T10:00"),
        hourly(hourly=2),
        {"2", "3"},
    ),
    "the newest of a day": (
        made("2026-11-24T23:59", "2026-11-25T00:00", "2026-11-25T23:59", "2026-11-26T00:00"),
        hourly(daily=3),
        {"1", "3", "4"},
    ),
    "a week begins on Monday, across the year's end": (  # 2026-12-28 is a Monday; its week is 2026-W53
        made("2026-12-27T12:00", "2026-12-28T12:00", "2027-01-03T12:00", "2027-01-04T12:00"),
        hourly(weekly=4),
        {"1", "3", "4"},
    ),
    "the newest of a month": (
        made("2026-09-30T12:00", "2026-10-01T12:00", "2026-10-31T12:00", "2026-11-01T12:00"),
        hourly(monthly=2),
        {"3", "4"},
    ),
    "one backup may hold places of several rules": (
        made("2026-11-26T10:00", "2026-11-26T11:00"),
        Retention(hourly=1, daily=1, weekly=1, monthly=1, last=1),
        {"2"},
    ),
    "the clock was set back a year: what is made now stays, what was newest before has its places": (
        made("2026-11-26T10:00", "2026-11-26T11:00", "2025-11-26T11:10", "2025-11-26T12:10"),
        hourly(hourly=3),
        {"2", "3", "4"},
    ),
    "the clock was a century ahead for one backup: it takes one place and no more": (
        made("2026-11-26T09:00", "2126-11-26T09:30", "2026-11-26T10:00", "2026-11-26T11:00"),
        hourly(hourly=2),
        {"3", "4"},
    ),
    "the clock stands still": (made(*["2026-11-26T09:00"] * 5), hourly(hourly=24, last=2), {"4", "5"}),
    "two writers at once have the same number": (
        [Backup("a", 7, 0.0), Backup("b", 7, 1.0), Backup("c", 6, 2.0)],
        hourly(last=2),
        {"a", "b"},
    ),
    "before 1970": (made("1969-12-31T23:00", "1969-12-31T23:30"), hourly(hourly=2), {"2"}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_prune_keeps(name: str) -> None:
    backups, retention, stay = CASES[name]
    assert set(kept(backups, retention)) == stay


def test_a_year_of_hourly_backups_comes_down_to_what_the_rules_say() -> None:
    year = every(timedelta(hours=1), 24 * 365)
    stay = kept(year, Retention(hourly=24, daily=7, weekly=4, monthly=12, last=3))
    rules = list(stay.values())
    assert {rule: rules.count(rule) for rule in set(rules)} == {"last": 3, "hourly": 21, "daily": 5, "weekly": 2, "monthly": 11}


def test_pruning_each_hour_leaves_the_same_as_pruning_once() -> None:
    rules = Retention(hourly=6, daily=3, weekly=2, monthly=2, last=2)
    year = every(timedelta(hours=5), 400)
    alive: list[Backup] = []
    for backup in year:
        alive.append(backup)
        stay = kept(alive, rules)
        alive = [b for b in alive if b.id in stay]
    assert {b.id for b in alive} == set(kept(year, rules))


def test_what_is_spared_stays_and_takes_nobodys_place() -> None:
    backups = made("2020-01-01", "2026-01-02", "2026-01-03")
    assert set(kept(backups, hourly(last=1), spare={"1", "unknown"})) == {"1", "3"}


@given(
    st.lists(st.floats(min_value=0, max_value=4e9), max_size=40),
    st.builds(Retention, *[st.integers(0, 5)] * 4, st.integers(1, 5)),
)
def test_the_last_one_made_stays_and_no_rule_keeps_more_than_it_says(times: list[float], rules: Retention) -> None:
    backups = [Backup(str(n), n, at) for n, at in enumerate(times)]
    stay = kept(backups, rules)
    assert set(stay) <= {b.id for b in backups}
    assert not backups or backups[-1].id in stay
    reasons = list(stay.values())
    assert all(reasons.count(rule) <= getattr(rules, rule) for rule in ("hourly", "daily", "weekly", "monthly", "last"))


@pytest.mark.parametrize("wrong", [{"last": 0}, {"hourly": -1}])
def test_rules_that_would_keep_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match=r"expected (0|1) or more, got"):
        Retention(**wrong)
