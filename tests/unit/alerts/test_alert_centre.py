"""What the centre plans: inhibition, escalation, refreshes, and what an earlier life raised."""

from dataclasses import replace

import pytest

from actors.alerts.centre import Centre, Escalate, Policy, Raise, Resolve
from actors.alerts.rules import load_rules
from perenne.messages.alerts import Alert, Signal
from perenne.settings import CONFIGS
from tests.unit.alerts.test_alert_rules import RULES, alert_of

POLICY = Policy(escalate_after_s=900, escalations=2, refresh_s=300)


def centre() -> Centre:
    """With every shipped rule, but for the milder one about the disk."""
    return Centre(tuple(rule for rule in RULES if rule.name != "disk_low"), POLICY)


def ill(centre: Centre, name: str, now: float, value: float = 1.0, subject: str = "") -> None:
    centre.hear((Signal(name=name, subject=subject, value=value),), now)


def raised(centre: Centre, now: float, *open: Alert) -> dict[str, Raise]:
    return {action.fingerprint: action for action in centre.plan(open, now) if isinstance(action, Raise)}


def disk_full(now: float = 0.0) -> tuple[Centre, Alert]:
    """A centre with one critical alert that was told at `now`."""
    watched = centre()
    ill(watched, "disk.room", now, 0.5)
    ill(watched, "disk.room", now, 0.5)
    made = raised(watched, now + 5)["disk_full"]
    return watched, alert_of(made, now + 5, now + 5)


def test_what_is_not_written_is_planned_again_and_harmless_twice() -> None:
    watched = centre()
    ill(watched, "disk.room", 0, 0.5)
    first, again = watched.plan((), 5), watched.plan((), 8)
    assert [type(action) for action in first] == [type(action) for action in again] == [Raise]
    assert raised(watched, 9).keys() == {"disk_full"}


def test_a_clock_that_is_set_back_by_years_neither_hides_what_is_wrong_nor_keeps_what_is_over() -> None:
    year = 365 * 86_400.0
    watched = centre()
    ill(watched, "disk.room", year, 0.5)
    ill(watched, "disk.room", 1, 0.5)
    made = raised(watched, 6)["disk_full"]
    alert = alert_of(made, year, year)
    (again, *_) = watched.plan((alert,), 7)
    assert isinstance(again, Raise | Escalate), "it was seen and told last in what is the future now"
    assert alert.fingerprint == "disk_full"
    watched, alert = disk_full(now=year)
    for at in (year + 5, 5, 5 + 600):
        ill(watched, "disk.room", at, 90.0)
        plan = watched.plan((alert,), at)
    assert [type(action) for action in plan] == [Resolve]


def test_a_dead_database_keeps_quiet_what_follows_from_it_and_not_the_rest() -> None:
    watched = centre()
    for name, subject, value in (
        ("database.away", "", 1), ("child.held", "StoreWriter", 1), ("jobs.stuck_s", "", 5_000), ("child.degraded", "RunHost", 1),
        ("disk.room", "", 0.5), ("supervisor.away", "", 1),
    ):  # fmt: skip
        ill(watched, name, 0, value, subject)
    plan = [action for action in watched.plan((), 1_000) if isinstance(action, Raise)]
    by = {action.fingerprint: action.inhibited_by for action in plan}
    root = next(action.alert_id for action in plan if action.fingerprint == "database_away")
    assert plan[0].inhibited_by is None, "what inhibits is written first"
    assert by["child_held/StoreWriter"] == by["jobs_stuck"] == by["child_degraded/RunHost"] == root
    assert by["database_away"] is by["supervisor_away"] is by["disk_full"] is None


def test_an_inhibitor_of_one_subject_leaves_others_alone() -> None:
    watched = centre()
    ill(watched, "child.held", 0, subject="RunHost")
    for subject in ("RunHost", "IngestHost"):
        ill(watched, "child.restarts", 0, 9, subject)
    plan = raised(watched, 10)
    assert plan["child_crash_loop/RunHost"].inhibited_by == plan["child_held/RunHost"].alert_id
    assert plan["child_crash_loop/IngestHost"].inhibited_by is None


def test_what_was_kept_quiet_is_written_anew_once_it_stands_alone() -> None:
    watched = centre()
    ill(watched, "database.away", 0)
    ill(watched, "jobs.stuck_s", 0, 5_000)
    plan = raised(watched, 60)
    open = [alert_of(each, 60, None if each.inhibited_by else 60) for each in plan.values()]
    assert raised(watched, 63, *open) == {}
    ill(watched, "database.away", 64, 0)
    over = watched.plan(tuple(open), 75)
    assert [action.alert_id for action in over if isinstance(action, Resolve)] == [plan["database_away"].alert_id]
    alone = [alert for alert in open if alert.fingerprint == "jobs_stuck"]
    assert raised(watched, 78, *alone)["jobs_stuck"].inhibited_by is None


def test_a_critical_alert_that_nobody_acknowledges_is_escalated_in_steps_and_no_further() -> None:
    watched, alert = disk_full()
    told = alert.told_at or 0.0
    levels: list[tuple[float, int]] = []
    for now in range(10, 5_000, 10):
        ill(watched, "disk.room", now, 0.5)
        for action in watched.plan((replace(alert, last_seen=now),), now):
            assert isinstance(action, Escalate)
            levels.append((now - told, action.level))
            alert = replace(alert, level=action.level, told_at=float(now))
            told = now
    assert levels == [(905.0, 1), (900, 2)]


@pytest.mark.parametrize(
    "quiet", [{"acknowledged_at": 6.0}, {"silenced_by": "sil_1"}, {"told_at": None}, {"severity": "warning"}, {"level": 2}]
)
def test_an_alert_that_is_acknowledged_silenced_untold_or_not_critical_is_not_escalated(quiet: dict[str, object]) -> None:
    watched, alert = disk_full()
    ill(watched, "disk.room", 2_000, 0.5)
    plan = watched.plan((replace(alert, last_seen=2_000.0, **quiet),), 2_000)  # type: ignore[arg-type]
    assert not [action for action in plan if isinstance(action, Escalate)]


def test_what_fires_is_written_anew_now_and_then_and_a_silenced_one_sooner() -> None:
    watched, alert = disk_full()
    assert watched.plan((alert,), 5 + 299) == []
    assert raised(watched, 5 + 300, alert).keys() == {"disk_full"}
    silenced = replace(alert, told_at=None, silenced_by="sil_1")
    assert raised(watched, 5 + 29, silenced) == {}
    assert raised(watched, 5 + 30, silenced).keys() == {"disk_full"}


def test_after_a_death_what_fires_is_taken_on_and_is_over_only_when_it_was_back_for_its_time() -> None:
    _, alert = disk_full()
    reborn = centre()
    assert reborn.plan((alert,), 100) == [], "nothing was observed yet: it fires on"
    ill(reborn, "disk.room", 103, 5)
    assert reborn.plan((alert,), 103) == []
    assert reborn.plan((alert,), 132) == []
    (over,) = reborn.plan((alert,), 133)
    assert over == Resolve(alert_id=alert.id, text="It is over.")
    assert reborn.plan((), 136) == []


def test_after_a_death_a_signal_that_came_before_the_database_resolves_nothing_too_soon() -> None:
    _, alert = disk_full()
    for value, over_at in ((5.0, 140.0), (0.5, None)):
        reborn = centre()
        ill(reborn, "disk.room", 101, value)
        assert reborn.plan((), 102) == []
        ill(reborn, "disk.room", 110, value)
        assert [action for action in reborn.plan((alert,), 110) if isinstance(action, Resolve)] == []
        assert [action for action in reborn.plan((alert,), 139) if isinstance(action, Resolve)] == []
        plan = reborn.plan((alert,), 140)
        assert [type(action) for action in plan] == ([Resolve] if over_at else [])


def test_the_alert_of_a_rule_that_is_gone_is_over() -> None:
    _, alert = disk_full()
    without = Centre(tuple(rule for rule in RULES if rule.name != "disk_full"))
    (over,) = without.plan((alert,), 100)
    assert isinstance(over, Resolve)
    assert "its rule is gone" in over.text


def test_the_alert_of_a_child_that_is_no_more_is_over() -> None:
    watched = centre()
    ill(watched, "child.held", 0, subject="IndexShard-old-0")
    alert = alert_of(raised(watched, 5)["child_held/IndexShard-old-0"], 5, 5)
    watched.hear((Signal(name="child.held", subject="RunHost", value=0),), 6, covers=("child.held",))
    assert watched.plan((alert,), 35) == []
    assert [type(action) for action in watched.plan((alert,), 36)] == [Resolve]


def test_an_unknown_signal_is_passed_over_and_the_subjects_of_a_rule_are_bounded() -> None:
    watched = centre()
    ill(watched, "of.nobody", 0, 99)
    for n in range(3_000):
        ill(watched, "child.held", 0, subject=f"child-{n}")
    assert len(watched.plan((), 10)) == 1_000


def test_the_shipped_rules_name_only_event_types_of_their_own() -> None:
    assert len({rule.event for rule in load_rules(CONFIGS / "alerts.yaml", CONFIGS / "alerts.yaml")}) == len(RULES)
