"""Whatever the order of observations, deaths and outages: of each fingerprint one alert at most is open, what holds is what fires, and
each change is in the outbox once for each subscriber who wants it."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.alerts.centre import Centre, Escalate, Policy, Raise
from actors.alerts.rules import Rule
from actors.store import alerts, hearers, outbox
from perenne.alerting import wants
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.messages.alerts import Signal
from tests.unit.store.store_house import StoreHouse

PACE = a.Pace(wait_s=5.0, interval_s=20.0, window_s=1e9, per_fingerprint=10**6, in_all=10**6)
SUBJECTS = ("a", "b")


def made(name: str, severity: Any, **fields: Any) -> Rule:
    given = {
        "signal": name,
        "above": 0,
        "severity": severity,
        "event": f"{name}.on",
        "group": "g",
        "title": name,
        "advice": name,
    }
    return Rule(name=name, **(given | fields))


RULES = (
    made("root", "critical", for_s=2, keep_s=3),
    made("leaf", "warning", inhibited_by=("root",)),
    made("side", "critical", keep_s=5),
    made("info", "info", for_s=4),
)


class Alerts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.house = StoreHouse(Path(self.folder.name))
        self.house.system(c.CreateUser, new_user_id=c.OWNER, name="owner")
        self.house.do(a.CreateChannel, channel_id="n", name="n", kind="webhook", url="https://a.example", address="x")
        for id, fields in {
            "all": {"severity": "debug"}, "loud": {"severity": "critical"}, "side": {"events": ("side.*",)}, "second": {"level": 1},
        }.items():  # fmt: skip
            self.house.do(a.CreateSubscriber, subscriber_id=id, name=id, channel_id="n", **fields)
        self.subscribers = self.house.ask(hearers.list_subscribers)
        self.expected: Counter[tuple[str, str, str]] = Counter()  # to whom, of which alert, what
        self.silenced = 0
        self.rise()

    def teardown(self) -> None:
        self.house.close()
        self.folder.cleanup()

    def rise(self) -> None:
        self.centre = Centre(RULES, Policy(escalate_after_s=10, escalations=2, refresh_s=15))

    @property
    def now(self) -> float:
        return self.house.clock.now()

    def open(self) -> Any:
        return self.house.ask(alerts.open_alerts)

    @rule(name=st.sampled_from([each.name for each in RULES]), subject=st.sampled_from(SUBJECTS), value=st.booleans())
    def observe(self, name: str, subject: str, value: bool) -> None:
        self.centre.hear((Signal(name=name, subject=subject, value=float(value)),), self.now)

    @rule(seconds=st.sampled_from([1.0, 3.0, 6.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.house.clock.advance(seconds)

    @rule(done=st.integers(0, 3), twice=st.booleans(), dies=st.booleans())
    def look(self, done: int, twice: bool, dies: bool) -> None:
        """A look, of which only so much is written before the database is away or the centre dies; or all of it, some twice."""
        plan = self.centre.plan(self.open(), self.now)
        for action in plan if not dies else plan[:done]:
            for _ in range(1 + twice):
                self.write(action)
        if dies:
            self.rise()

    def write(self, action: Any) -> None:
        before = {alert.id: alert for alert in self.house.ask(alerts.list_alerts, None, 1_000, None).items}
        if isinstance(action, Raise):
            fields = {name: getattr(action, name) for name in action.__dataclass_fields__}
            after = self.house.system(a.RaiseAlert, **fields, pace=PACE)
            what = "firing" if after.told_at is not None and getattr(before.get(after.id), "told_at", None) is None else None
        elif isinstance(action, Escalate):
            after = self.house.system(a.EscalateAlert, alert_id=action.alert_id, level=action.level, pace=PACE)
            what = "escalated" if after.level > before[after.id].level else None
        else:
            after = self.house.system(a.ResolveAlert, alert_id=action.alert_id, pace=PACE)
            was = before[after.id]
            over = was.state == "firing" and was.told_at is not None and after.silenced_by is None
            what = "resolved" if over else None
        if what is not None:
            for each in self.subscribers:
                if wants(each, after.event, after.severity, after.level):
                    self.expected[each.id, after.id, what] += 1

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        if found := self.open():
            self.house.do(a.AcknowledgeAlert, alert_id=data.draw(st.sampled_from(found)).id, by="ana")

    @rule(subject=st.sampled_from(SUBJECTS), seconds=st.sampled_from([5.0, 40.0]))
    def silence(self, subject: str, seconds: float) -> None:
        self.silenced += 1
        fields: dict[str, Any] = {"labels": {"subject": subject}, "length_s": seconds}
        self.house.do(a.CreateSilence, silence_id=f"sil_{self.silenced}", **fields)

    @rule(arrives=st.booleans())
    def deliver(self, arrives: bool) -> None:
        for row in self.house.system(a.LeaseDeliveries, worker="w", limit=5, lease_s=30.0, per_channel=5):
            held = {"delivery_id": row.id, "lease_token": row.lease_token}
            if arrives:
                self.house.system(a.FinishDelivery, **held)
            else:
                self.house.system(a.FailDelivery, error="no answer", retry_in_s=3.0, **held)

    @invariant()
    def one_open_row_each(self) -> None:
        fingerprints = [alert.fingerprint for alert in self.open()]
        assert len(fingerprints) == len(set(fingerprints))

    @invariant()
    def each_change_is_told_once_to_each_who_wants_it(self) -> None:
        rows = self.house.ask(outbox.list_deliveries, None, 1_000, None).items
        told = Counter((row.subscriber_id, entry.alert_id, entry.transition) for row in rows for entry in row.entries)
        assert told == self.expected
        for (_, _, what), count in told.items():
            assert count == 1 or (what == "escalated" and count <= 2)


TestAlerts = Alerts.TestCase
TestAlerts.settings = settings(
    max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
