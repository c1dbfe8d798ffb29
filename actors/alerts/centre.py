"""The core of the AlertCenter: from signals, and from what fires according to the database, to what is to be written. It holds nothing
that is lost with it but for how long something has held; what fires is known from the database."""

from dataclasses import dataclass

from actors.alerts.rules import Rule, shown
from actors.alerts.standing import Standing, gone, heard, judged, moved
from perenne.ids import new_id
from perenne.messages.alerts import Alert, Severity, Signal

DETAIL_CHARS_MAX = 1_000
SUBJECTS_MAX = 1_000  # that are looked at under one rule; others are let go
_QUIET_LOOK_S = 30.0  # how soon it is seen that a silence is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A critical alert that nobody acknowledged is escalated `escalations` times, `escalate_after_s` after it was last told. What fires
    is written down anew every `refresh_s`."""

    escalate_after_s: float = 900.0
    escalations: int = 3
    refresh_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """Open an alert, or refresh the one that is open."""

    alert_id: str
    fingerprint: str
    severity: Severity
    event: str
    group: str
    title: str
    text: str
    advice: str
    labels: dict[str, str]
    first_seen: float
    inhibited_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    alert_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    alert_id: str
    level: int


Action = Raise | Resolve | Escalate


def fingerprint_of(rule: str, subject: str) -> str:
    """What makes two observations one alert."""
    return f"{rule}/{subject}" if subject else rule


class Centre:
    """`hear` what was observed, then `plan` what is to be written, given what fires in the database."""

    def __init__(self, rules: tuple[Rule, ...], policy: Policy | None = None) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._of_signal: dict[str, list[Rule]] = {}
        for rule in rules:
            self._of_signal.setdefault(rule.signal, []).append(rule)
        self._policy = policy or Policy()
        self._standings: dict[tuple[str, str], Standing] = {}
        self._known: set[str] = set()  # fingerprints that fired in here: an open alert of another is taken on
        self._now = 0.0

    def _follow(self, now: float) -> None:
        """A clock that was set back takes what has held along: it would not have held for years then."""
        if now < self._now:
            self._standings = {key: moved(standing, now - self._now) for key, standing in self._standings.items()}
        self._now = now

    def hear(self, signals: tuple[Signal, ...], now: float, covers: tuple[str, ...] = ()) -> None:
        """What was observed. Of the signals in `covers` these are all that there are: what fires for another subject is over."""
        self._follow(now)
        for signal in signals:
            for rule in self._of_signal.get(signal.name, ()):
                key = (rule.name, signal.subject)
                held = self._standings.get(key)
                if held is None and self._subjects(rule.name) >= SUBJECTS_MAX:
                    continue
                self._standings[key] = heard(rule, held or Standing(), signal, now)
        there = {(signal.name, signal.subject) for signal in signals}
        for (name, subject), standing in list(self._standings.items()):
            signal = self._rules[name].signal
            if signal in covers and (signal, subject) not in there:
                self._standings[name, subject] = gone(standing, now)

    def _subjects(self, rule: str) -> int:
        return sum(1 for name, _ in self._standings if name == rule)

    def plan(self, open: tuple[Alert, ...], now: float) -> list[Action]:
        """What is to be written. The same again until it is: each action is harmless twice."""
        self._follow(now)
        fires = {alert.fingerprint: alert for alert in open}
        actions: list[Action] = []
        for alert in open:
            self._take_on(alert, now)
        wanted = self._judge(now)
        for alert in open:
            if alert.fingerprint not in wanted:
                rule, _, _ = alert.fingerprint.partition("/")
                text = "It is over." if rule in self._rules else "Nobody looks after this any more: its rule is gone."
                actions.append(Resolve(alert_id=alert.id, text=text))
        ids = {each: fires[each].id if each in fires else new_id("alr") for each in wanted}
        for fingerprint, (rule, subject) in wanted.items():
            alert = fires.get(fingerprint)
            inhibited_by = self._inhibitor(rule, subject, ids)
            if alert is None or self._is_due(alert, rule, inhibited_by, now):
                actions.append(self._raise(rule, subject, ids[fingerprint], inhibited_by, now))
            elif self._escalates(alert, now):
                actions.append(Escalate(alert_id=alert.id, level=alert.level + 1))
        self._known &= wanted.keys() | fires.keys()
        return actions

    def _take_on(self, alert: Alert, now: float) -> None:
        """An alert that an earlier life raised fires until its signal says otherwise for long enough."""
        if alert.fingerprint in self._known:
            return
        name, _, subject = alert.fingerprint.partition("/")
        rule = self._rules.get(name)
        if rule is None:
            return
        self._known.add(alert.fingerprint)
        held = self._standings.get((name, subject))
        if held is None:
            self._standings[name, subject] = Standing(firing=True, begun=alert.first_seen, heard=now)
        elif not held.firing:
            clear = held.signal is not None and rule.clear(held.signal.value)
            self._standings[name, subject] = Standing(
                firing=True,
                since=held.since,
                clear_since=now if clear else None,
                begun=alert.first_seen,
                heard=held.heard,
                signal=held.signal,
            )

    def _judge(self, now: float) -> dict[str, tuple[Rule, str]]:
        """What fires now, by fingerprint; first what inhibits others."""
        wanted: dict[str, tuple[Rule, str]] = {}
        for (name, subject), standing in list(self._standings.items()):
            rule = self._rules[name]
            after, _ = judged(rule, standing, now)
            if not after.firing and after.since is None:
                del self._standings[name, subject]
            else:
                self._standings[name, subject] = after
            if after.firing:
                wanted[fingerprint_of(name, subject)] = (rule, subject)
        self._known |= wanted.keys()
        return dict(sorted(wanted.items(), key=lambda item: len(item[1][0].inhibited_by)))

    def _inhibitor(self, rule: Rule, subject: str, ids: dict[str, str]) -> str | None:
        for each in rule.inhibited_by:
            pattern = each.format(subject=subject, value="", detail="")
            for fingerprint, id in ids.items():
                if fingerprint == pattern or ("/" not in pattern and fingerprint.startswith(pattern + "/")):
                    return id
        return None

    def _is_due(self, alert: Alert, rule: Rule, inhibited_by: str | None, now: float) -> bool:
        changed = alert.inhibited_by != inhibited_by or alert.severity != rule.severity
        quiet = alert.told_at is None and inhibited_by is None
        return changed or abs(now - alert.last_seen) >= (_QUIET_LOOK_S if quiet else self._policy.refresh_s)

    def _escalates(self, alert: Alert, now: float) -> bool:
        quiet = alert.acknowledged_at is not None or alert.silenced_by is not None or alert.inhibited_by is not None
        if alert.severity != "critical" or quiet or alert.told_at is None or alert.level >= self._policy.escalations:
            return False
        return abs(now - alert.told_at) >= self._policy.escalate_after_s

    def _raise(self, rule: Rule, subject: str, alert_id: str, inhibited_by: str | None, now: float) -> Raise:
        standing = self._standings[rule.name, subject]
        signal = standing.signal
        words = {
            "subject": subject,
            "value": "" if signal is None else shown(signal.value, rule.unit),
            "detail": "" if signal is None else signal.detail[:DETAIL_CHARS_MAX],
        }
        return Raise(
            alert_id=alert_id,
            fingerprint=fingerprint_of(rule.name, subject),
            severity=rule.severity,
            event=rule.event,
            group=rule.group,
            title=rule.title.format(**words),
            text=rule.text.format(**words).strip(),
            advice=rule.advice.format(**words),
            labels={"rule": rule.name} | ({"subject": subject} if subject else {}),
            first_seen=now if standing.begun is None else standing.begun,
            inhibited_by=inhibited_by,
        )
