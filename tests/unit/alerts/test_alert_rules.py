"""The rules that are shipped, each with its time and its way back; what is observed, as signals; and the owner's changes to rules."""

from pathlib import Path

import pytest

from actors.alerts.centre import Centre, Raise, Resolve
from actors.alerts.rules import Rule, load_rules, shown
from actors.alerts.sources import Restarts, backup_signals, job_signals, model_signals, pc_signals, tree_signals
from perenne import names
from perenne.errors import ConfigurationError
from perenne.messages.alerts import Alert, JobFigures, Signal
from perenne.messages.backups import Schedule, ScheduleResult
from perenne.messages.health import ChildState, ChildStatus, TreeStatus
from perenne.messages.models import ModelPhase, ModelState
from perenne.schedules import BEFORE
from perenne.settings import CONFIGS, DiskSettings

SHIPPED = CONFIGS / "alerts.yaml"
RULES = load_rules(SHIPPED, SHIPPED)

# What each shipped rule promises: the value at which it is not yet so, one at which it is; one from which it is not over yet, one at
# which it is; how long it has to hold, and how long it has to be over.
PROMISES: dict[str, tuple[float, float, float | None, float, float, float, str]] = {
    "database_away": (0, 1, None, 0, 20, 10, "critical"),
    "group_held": (0, 1, None, 0, 0, 30, "critical"),
    "child_died": (0, 1, None, 0, 20, 0, "warning"),
    "child_hang_ended": (0, 1, None, 0, 0, 0, "warning"),
    "child_held": (0, 1, None, 0, 5, 30, "critical"),
    "child_hung": (0, 1, None, 0, 20, 30, "warning"),
    "child_crash_loop": (4, 5, None, 4, 0, 300, "warning"),
    "child_down": (0, 1, None, 0, 120, 10, "critical"),
    "child_degraded": (0, 1, None, 0, 180, 30, "warning"),
    "supervisor_away": (0, 1, None, 0, 60, 10, "critical"),
    "disk_low": (3, 2.9, 3.5, 4, 30, 60, "warning"),
    "disk_full": (1, 0.9, 1.1, 1.2, 5, 30, "critical"),
    "memory_low": (0.08, 0.07, 0.1, 0.12, 60, 60, "warning"),
    "jobs_failed": (0, 1, None, 0, 0, 60, "warning"),
    "jobs_stuck": (900, 901, 600, 300, 60, 30, "warning"),
    "model_failed": (0, 1, None, 0, 60, 30, "critical"),
    "model_missing": (0, 1, None, 0, 1800, 30, "warning"),
    "backup_failed": (0, 1, None, 0, 0, 0, "critical"),
    "backup_old": (172_800, 172_801, None, 172_800, 600, 0, "warning"),
    "migration_unguarded": (0, 1, None, 0, 0, 0, "warning"),
    "moments_lost": (0, 1, None, 0, 120, 0, "warning"),
    "drill_failed": (0, 1, None, 0, 0, 0, "critical"),
    "api_slow": (2_000, 2_001, 1_500, 1_000, 60, 60, "warning"),
    "answers_slow": (60, 61, 45, 30, 60, 60, "warning"),
    "keys_refused": (30, 31, 20, 10, 0, 120, "warning"),
    "key_admin_created": (1, 2, None, 1, 0, 0, "warning"),
    "key_created": (0, 1, None, 0, 0, 0, "info"),
    "key_revoked": (0, 1, None, 0, 0, 0, "info"),
    "edge_exposed": (1, 2, None, 1, 0, 0, "warning"),
    "edge_opened": (0, 1, None, 0, 0, 0, "info"),
    "home_restored": (0, 1, None, 0, 0, 0, "warning"),
}


class Watched:
    """A centre alone, and what it wants written, taken as written at once."""

    def __init__(self, *rules: Rule) -> None:
        self.centre, self.now, self.open = Centre(rules), 1_000_000.0, dict[str, Alert]()

    def tell(self, name: str, value: float, after_s: float = 0.0, subject: str = "") -> list[str]:
        """A signal after a while; what was raised or resolved because of it."""
        self.now += after_s
        self.centre.hear((Signal(name=name, subject=subject, value=value, detail="as it says"),), self.now)
        return self.look()

    def look(self, after_s: float = 0.0) -> list[str]:
        self.now += after_s
        done: list[str] = []
        for action in self.centre.plan(tuple(self.open.values()), self.now):
            if isinstance(action, Raise):
                new = action.fingerprint not in self.open
                told = None if action.inhibited_by else self.now
                self.open[action.fingerprint] = alert_of(action, self.now, told)
                done += [f"+{action.fingerprint}"] if new else []
            elif isinstance(action, Resolve):
                (gone,) = [each for each in self.open.values() if each.id == action.alert_id]
                del self.open[gone.fingerprint]
                done.append(f"-{gone.fingerprint}")
        return done


def alert_of(action: Raise, now: float, told_at: float | None) -> Alert:
    return Alert(
        id=action.alert_id,
        fingerprint=action.fingerprint,
        severity=action.severity,
        state="firing",
        event=action.event,
        title=action.title,
        text=action.text,
        advice=action.advice,
        labels=action.labels,
        group=action.group,
        first_seen=action.first_seen,
        last_seen=now,
        inhibited_by=action.inhibited_by,
        told_at=told_at,
    )


def test_every_shipped_rule_has_its_promise_here() -> None:
    assert {rule.name for rule in RULES} == PROMISES.keys()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_fires_when_it_held_for_its_time_and_is_over_when_it_was_back_for_its_time(rule: Rule) -> None:
    well, ill, between, back, for_s, keep_s, severity = PROMISES[rule.name]
    watched = Watched(rule)
    assert watched.tell(rule.signal, well) == []
    assert watched.tell(rule.signal, well, 10_000) == []
    if for_s:
        assert watched.tell(rule.signal, ill, 1) == []
        assert watched.tell(rule.signal, well, for_s - 0.5) == [], "it held, and not long enough"
        assert watched.tell(rule.signal, ill, 1) == []
        assert watched.tell(rule.signal, ill, for_s - 0.5) == []
        assert watched.tell(rule.signal, ill, 0.5) == [f"+{rule.name}"]
    else:
        assert watched.tell(rule.signal, ill, 1) == [f"+{rule.name}"]
    (alert,) = watched.open.values()
    assert alert.severity == severity
    assert alert.first_seen == watched.now - for_s
    assert "{" not in alert.title + alert.text + alert.advice
    assert len(alert.advice) > 20
    assert watched.tell(rule.signal, ill, 5_000) == []
    if between is not None:
        assert watched.tell(rule.signal, between, 1) == []
        assert watched.tell(rule.signal, between, keep_s + 10) == []
    if keep_s:
        assert watched.tell(rule.signal, back, 1) == []
        assert watched.tell(rule.signal, ill, keep_s - 0.5) == [], "it was back, and not long enough"
        assert watched.tell(rule.signal, back, 1) == []
        assert watched.tell(rule.signal, back, keep_s - 0.5) == []
        assert watched.tell(rule.signal, back, 0.5) == [f"-{rule.name}"]
    else:
        assert watched.tell(rule.signal, back, 1) == [f"-{rule.name}"]
    assert watched.look(10_000) == []


OWN = Rule(
    name="pump_off", signal="pump.off", above=0, for_s=10, keep_s=20, stale_s=300, severity="warning", event="pump.off", group="pump",
    title="The pump is off", text="{detail}", advice="Look after the pump.",
)  # fmt: skip


def test_a_signal_that_is_not_told_again_is_over() -> None:
    watched = Watched(OWN)
    watched.tell("pump.off", 1)
    assert watched.tell("pump.off", 1, OWN.for_s) == ["+pump_off"]
    assert watched.look(OWN.stale_s - 1) == []
    assert watched.look(2) == []
    assert watched.look(OWN.keep_s) == ["-pump_off"]


def child(name: str, state: ChildState, restarts: int = 0, detail: str = "") -> ChildStatus:
    return ChildStatus(name=name, state=state, restarts=restarts, detail=detail)


@pytest.mark.parametrize(
    ("state", "rule"),
    [
        ("held", "child_held"),
        ("hung", "child_hung"),
        ("dead", "child_down"),
        ("starting", "child_down"),
        ("recovering", "child_down"),
        ("waiting", "child_down"),
        ("degraded", "child_degraded"),
        ("ready", None),
        ("stopped", None),
    ],
)
def test_each_state_of_a_child_means_its_rule(state: ChildState, rule: str | None) -> None:
    status = TreeStatus(ready=False, children=(child("RunHost", state, detail="why"), child("StoreWriter", "ready")))
    centre, restarts = Centre(RULES), Restarts()
    for now in (0.0, 1_000.0):
        centre.hear(tree_signals(status, restarts, now), now)
        raised = [action for action in centre.plan((), now) if isinstance(action, Raise)]
    assert [action.fingerprint for action in raised] == ([f"{rule}/RunHost"] if rule else [])
    assert all("RunHost" in action.title and "why" in action.text for action in raised)


def test_a_crash_loop_is_one_alert_however_often_it_dies() -> None:
    watched, restarts = Watched(*RULES), Restarts()
    done: list[str] = []
    for n in range(300):
        watched.now += 2
        status = TreeStatus(ready=False, children=(child("RunHost", "dead" if n % 2 else "ready", restarts=n),))
        watched.centre.hear(tree_signals(status, restarts, watched.now), watched.now)
        done += watched.look()
    assert done == ["+child_crash_loop/RunHost"]
    for _ in range(600):
        watched.now += 2
        status = TreeStatus(ready=True, children=(child("RunHost", "ready", restarts=299),))
        watched.centre.hear(tree_signals(status, restarts, watched.now), watched.now)
        done += watched.look()
    assert done == ["+child_crash_loop/RunHost", "-child_crash_loop/RunHost"]


def test_restarts_count_within_their_window_and_through_a_supervisor_that_counts_anew() -> None:
    restarts = Restarts()
    seen = [
        restarts.within(child("a", "ready", restarts=n), at) for at, n in ((0, 3), (10, 5), (20, 9), (1_000, 9), (1_010, 1))
    ]
    assert seen == [0, 2, 6, 0, 0]


def test_the_pc_is_measured_in_reserves_and_shares(tmp_path: Path) -> None:
    disk, memory = pc_signals(tmp_path, DiskSettings(reserve_bytes=1), lambda: (1 << 30, 8 << 30))
    assert disk.value > 1_000
    assert (memory.value, memory.detail) == (0.125, "1,024 of 8,192 MB.")
    short = pc_signals(tmp_path, DiskSettings(reserve_bytes=1 << 60), lambda: (1, 2))[0]
    assert short.value < 0.1


def test_jobs_are_stuck_since_the_one_that_waits_longest_moved() -> None:
    failed, stuck = job_signals(JobFigures(open=2, waiting_since=100.0, failed=3, reason="damaged"), 1_100.0)
    assert (failed.value, failed.detail, stuck.value, stuck.detail) == (3, "damaged", 1_000.0, "2 jobs wait.")
    assert [signal.value for signal in job_signals(JobFigures(open=0), 5.0)] == [0, 0]


@pytest.mark.parametrize(
    ("phase", "values"),
    [
        ("failed", (1, 0)),
        ("missing", (0, 1)),
        ("downloading", (0, 1)),
        ("ready", (0, 0)),
        ("unloaded", (0, 0)),
        ("loading", (0, 0)),
    ],
)
def test_a_model_is_failed_or_missing_by_its_phase(phase: ModelPhase, values: tuple[float, float]) -> None:
    signals = model_signals((ModelState(role=names.EMBEDDING, model_id="m", phase=phase, detail="no room"),))
    assert tuple(signal.value for signal in signals) == values
    assert {signal.detail for signal in signals if signal.value} <= {"m: no room"}


def test_backups_and_drills_are_judged_by_how_they_ended_last_and_when_one_was_good() -> None:
    good = ScheduleResult(began_at=90.0, ended_at=100.0, ok=True, detail="made")
    bad = ScheduleResult(began_at=190.0, ended_at=200.0, ok=False, detail="no room.", faults=("a piece is damaged",))
    schedules = (
        Schedule(name="backup", cron="0 * * * *", last=bad, good=good),
        Schedule(name="drill", cron="", last=good, good=good),
        Schedule(name="verify", cron="", last=bad),
    )
    signals = {signal.name: (signal.value, signal.detail) for signal in backup_signals(schedules, 1_100.0)}
    assert signals == {
        "backup.failed": (1, "no room. a piece is damaged"),
        "backup.age_s": (1_000, ""),
        "drill.failed": (0, ""),
    }
    assert backup_signals((Schedule(name="backup", cron="", good=good),), 1_100.0) == ()


def test_a_migration_without_a_backup_is_told_until_there_is_a_good_one() -> None:
    failed = ScheduleResult(began_at=90.0, ended_at=100.0, ok=False, detail="no backup could be made")
    before = Schedule(name=BEFORE, cron="", last=failed)
    earlier, later = (ScheduleResult(began_at=at, ended_at=at, ok=True, detail="made") for at in (50.0, 150.0))

    def told(*schedules: Schedule) -> tuple[float, str]:
        (signal,) = (each for each in backup_signals(schedules, 200.0) if each.name == "migration.unguarded")
        return signal.value, signal.detail

    assert told(before) == (1, "no backup could be made")
    assert told(before, Schedule(name="backup", cron="", last=earlier, good=earlier)) == (1, "no backup could be made")
    assert told(before, Schedule(name="backup", cron="", last=later, good=later)) == (0, "")
    assert told(Schedule(name=BEFORE, cron="", last=earlier, good=earlier)) == (0, "")


def test_the_owner_changes_adds_and_takes_out_rules(tmp_path: Path) -> None:
    own = tmp_path / "alerts.yaml"
    own.write_text(
        "disk_low: {below: 10, clear_above: 12}\n"
        "memory_low: {enabled: false}\n"
        "mine: {signal: jobs.failed, above: 5, severity: critical, event: job.many, group: jobs, title: Many, advice: Look}\n"
    )
    rules = {rule.name: rule for rule in load_rules(SHIPPED, own)}
    assert rules.keys() == (PROMISES.keys() - {"memory_low"}) | {"mine"}
    assert (rules["disk_low"].below, rules["disk_low"].for_s) == (10, 30)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("disk_low: {below: many}", "disk_low: below Input should be a valid number"),
        ("disk_low: {belw: 3}", "disk_low: belw Extra inputs are not permitted"),
        ("disk_low: {above: 3}", "expected one of above and below"),
        ("disk_low: {clear_above: 1}", "clear_above is at least below"),
        ("jobs_stuck: {clear_below: 9999}", "clear_below is at most above"),
        ("disk_low: {title: 'of {host}'}", "expected {subject}, {value} or {detail} in braces, got 'host'"),
        ("disk_low: {event: 'Disk Low'}", "expected an event type"),
        ("disk_low: {inhibited_by: [nothing]}", "there is no rule 'nothing'"),
        ("disk_full: {inhibited_by: [disk_low]}", "it would keep itself quiet"),
        ("[a, b]", "expected a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_what_was_expected(tmp_path: Path, written: str, said: str) -> None:
    own = tmp_path / "alerts.yaml"
    own.write_text(written)
    with pytest.raises(ConfigurationError) as raised:
        load_rules(SHIPPED, own)
    assert said in str(raised.value)


def test_values_are_shown_in_words() -> None:
    assert [shown(1_000, "seconds"), shown(90_000, "seconds"), shown(3 * 86_400, "seconds")] == [
        "17 minutes",
        "25 hours",
        "3 days",
    ]
    assert [shown(0.07, "share"), shown(2_500, "milliseconds"), shown(3 << 30, "bytes"), shown(5, "count")] == [
        "7%", "2.5 s", "3.0 GB", "5",
    ]  # fmt: skip
