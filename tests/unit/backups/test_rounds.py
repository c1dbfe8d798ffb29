"""When backups are due, and how a schedule is told."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from actors.backups.keeper import Keeper
from actors.backups.rounds import BACKUP, DRILL, INTERRUPTED, Rounds
from perenne.clock import ManualClock
from perenne.errors import Busy, ConfigurationError
from perenne.messages.backups import Schedule, ScheduleResult
from perenne.schedules import check_cron, next_time, one_line, read_schedule, read_schedules, write_schedule
from perenne.settings import Settings, load_settings
from perenne.testing import FakeDirectory, eventually

HOUR = 3_600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"PERENNE_HOME": str(tmp_path)})


def rounds_at(settings: Settings, clock: ManualClock) -> Rounds:
    return Rounds(settings, Keeper(settings, FakeDirectory(), "test"), clock)


def test_the_defaults_are_each_hour_and_each_sunday(settings: Settings) -> None:
    assert next_time(settings.backups.schedule, 1_000_000.0) == 1_000_800.0
    assert next_time("", 1_000_000.0) is None
    following = next_time(settings.backups.drill, 1_000_000.0)
    assert following is not None
    assert 0 < following - 1_000_000.0 <= 7 * 24 * HOUR


@pytest.mark.parametrize("cron", ["hourly", "* * * *", "61 * * * *", "* * * * * *", "@hourly"])
def test_what_is_no_moment_is_refused_with_an_example(cron: str) -> None:
    with pytest.raises(ConfigurationError, match=r"0 \* \* \* \*"):
        check_cron(cron)


def test_a_backup_is_due_at_its_hour_and_one_that_was_missed_at_once(settings: Settings) -> None:
    clock = ManualClock()
    rounds = rounds_at(settings, clock)
    assert rounds._next() is None
    clock.advance(800.0)
    assert rounds._next() == (BACKUP, None, False)
    write_schedule(settings.home, replace(rounds.schedules()[0], next_at=clock.now()))
    clock.advance(5 * HOUR)  # the PC was off
    assert rounds_at(settings, clock)._next() == (BACKUP, None, False)


def test_a_clock_that_is_set_back_by_years_stops_no_backup(settings: Settings) -> None:
    clock = ManualClock(1_000_000_000.0)
    write_schedule(settings.home, Schedule(name=BACKUP, cron="0 * * * *", next_at=1_000_000_800.0))
    clock.advance(-10 * 365 * 24 * HOUR)
    rounds = rounds_at(settings, clock)
    assert rounds._next() is None
    clock.advance(HOUR)
    assert rounds._next() == (BACKUP, None, False)


def test_work_that_was_under_way_is_said_to_be_interrupted(settings: Settings) -> None:
    good = ScheduleResult(began_at=1.0, ended_at=2.0, ok=True, detail="well")
    write_schedule(settings.home, Schedule(name=DRILL, cron="30 3 * * 0", running_since=9.0, last=good, good=good))
    (held,) = [each for each in rounds_at(settings, ManualClock()).schedules() if each.name == DRILL]
    assert held.running_since is None
    assert held.last is not None
    assert (held.last.ok, held.last.detail, held.good) == (False, INTERRUPTED, good)


async def test_what_fails_is_kept_with_its_reason_and_the_next_is_planned(settings: Settings) -> None:
    clock = ManualClock()
    rounds = rounds_at(settings, clock)
    running = asyncio.create_task(rounds.run())
    rounds.ask(BACKUP)
    with pytest.raises(Busy):
        rounds.ask(DRILL)

    def ended() -> Schedule | None:
        held = read_schedule(settings.home, BACKUP)
        return held if held is not None and held.last is not None else None

    held = await eventually(ended)
    assert held is not None
    assert held.last is not None
    assert not held.last.ok
    assert "BlobStore" in held.last.detail  # nobody is there
    assert (held.good, held.running_since, held.next_at) == (None, None, 1_000_800.0)
    running.cancel()
    assert "FAILED" in one_line(held, clock.now() + 90.0)
    assert "there is no good one" in one_line(held, clock.now())


def test_a_schedule_that_can_not_be_read_is_left_out(settings: Settings) -> None:
    write_schedule(settings.home, Schedule(name=BACKUP, cron="0 * * * *"))
    Path(settings.home, "schedules", "drill.json").write_text("{")
    assert [each.name for each in read_schedules(settings.home)] == [BACKUP]
    assert one_line(Schedule(name=DRILL, cron=""), 0.0) == "drill: never yet"
