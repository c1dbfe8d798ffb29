"""Backups before migrations: which is of this very moment, and how long each stays."""

from typing import Any

from actors.backups.before import KEPT_S, KIND, Moment, before_version, of_moment, spared
from actors.backups.manifest import Cut, Summary

NOW = 1_000_000_000.0


def backup(ordinal: int, held: str = "", to: str = "", *, days_ago: float = 0.0, epoch: int = 5, **fields: Any) -> Summary:
    fields = {"kind": KIND, "origin": "here"} | fields
    cut = Cut(revision=held, notes={"to": to, "epoch": str(epoch), "missing": "0"}, **fields)
    return Summary(f"b{ordinal}", ordinal, NOW - days_ago * 86_400.0, cut, 1, 1, 1, 1, 0.0)


def test_those_of_the_last_two_migrations_stay_however_old_and_any_of_the_last_month() -> None:
    backups = [
        backup(1, "0006", "0007", days_ago=400),
        backup(2, "0007", "0008", days_ago=300),
        backup(3, "0007", "0008", days_ago=299),  # a second try: the first is like any other
        backup(4, kind="scheduled", days_ago=250),
        backup(5, "0008", "0009", days_ago=200),
    ]
    assert spared(backups, NOW) == {"b3", "b5"}
    young = [backup(n, f"000{n}", f"000{n + 1}", days_ago=29.0 - n) for n in (1, 2, 3, 4)]
    assert spared(young, NOW) == {"b1", "b2", "b3", "b4"}
    assert spared(young, NOW + KEPT_S) == {"b3", "b4"}


def test_a_clock_set_back_by_years_keeps_the_last_two_alone() -> None:
    backups = [backup(n, f"000{n}", f"000{n + 1}") for n in (1, 2, 3)]
    assert spared(backups, NOW - 10 * 365 * 86_400.0) == {"b2", "b3"}


def test_only_a_backup_of_the_same_epoch_is_of_the_same_rows() -> None:
    moment = Moment(origin="here", epoch=5, held="0009", wanted="0010")
    other = (
        backup(1, "0009", "0010", epoch=4),
        backup(2, "0009", "0010", origin="there"),
        backup(3, "0008", "0010"),
        backup(4, "0009", "0011"),
        backup(5, "0009", "0010", kind="manual"),
    )
    assert of_moment(other, moment) is None
    found = of_moment((*other, backup(6, "0009", "0010"), backup(7, "0009", "0010")), moment)
    assert found is not None
    assert found.id == "b7"


def test_the_way_back_is_the_backup_before_the_version_that_is_held() -> None:
    backups = [backup(1, "0008", "0009"), backup(2, "0009", "0010"), backup(3, "0009", "0010", origin="there"), backup(4)]
    backups.append(backup(5, "0011", "0010"))  # before it was rolled back
    found = before_version(backups, origin="here", held="0010", earlier={"0008", "0009"})
    assert found is not None
    assert found.id == "b2"
    assert before_version(backups, origin="here", held="0008", earlier={"0007"}) is None
