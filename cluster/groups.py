"""Groups of children that stand and fall together: a child that can't stay up takes its group down once; then the group is held, and
tried again after a while or by hand. A held group's members that are up stay up: what still answers goes on answering."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

from cluster.restarts import Intensity
from perenne.messages.health import EventKind, Go, SupervisionEvent

Phase = Literal["up", "restarted", "held", "tried"]
ASK_AGAIN_S = 5.0  # a held shell asks at least this often: its owner may let it go by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A held group rests for `hold_s`, doubling to `hold_max_s`; then a child may start `tries` times. One that was well for `settled_s`
    after that is let off; that a group was started anew is forgotten after `forgotten_s`."""

    hold_s: float = 60.0
    hold_max_s: float = 900.0
    tries: int = 3
    settled_s: float = 30.0
    forgotten_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """How it stands with one group: since when it is in its phase, and how often in a row it was held."""

    phase: Phase = "up"
    since: float = 0.0
    until: float = 0.0  # of a hold
    holds: int = 0
    reason: str = ""


def cannot_stay_up(group: Group, starts: Sequence[float], now: float, intensity: Intensity, policy: Escalation) -> str | None:
    """Why a child with these starts, the last one now, counts as one that can't stay up; None when it does not."""
    if group.phase == "tried":
        tried = sum(1 for start in starts if start > group.since)
        return f"started {tried} more times in vain" if tried > policy.tries else None
    counted = sum(1 for start in starts if now - start < intensity.window_s and start > group.since)
    return f"started {counted} times in {intensity.window_s:g} s" if counted > intensity.held_after else None


def escalate(group: Group, now: float, reason: str, policy: Escalation) -> Group:
    """A member can't stay up: the group is started anew, or held where that was done before."""
    if group.phase == "held":
        return group
    if group.phase == "up":
        return Group(phase="restarted", since=now, reason=reason)
    rest_s = min(policy.hold_max_s, policy.hold_s * 2**group.holds)
    return Group(phase="held", since=now, until=now + rest_s, holds=group.holds + 1, reason=reason)


def pass_time(group: Group, now: float, well: bool, policy: Escalation) -> Group:
    """What the clock alone changes. `well`: every member is ready."""
    if group.phase == "held" and not 0.0 < group.until - now <= policy.hold_max_s:  # later is from a clock that was set back
        return replace(group, phase="tried", since=now)
    patience_s = {"tried": policy.settled_s, "restarted": policy.forgotten_s}.get(group.phase)
    if patience_s is not None and well and now - group.since >= patience_s:
        return Group(since=group.since)
    return group


class Note(Protocol):
    def __call__(self, kind: EventKind, subject: str, detail: str = "", *, until: float = 0.0) -> object: ...


class Groups:
    """Asked by shells and by the tick, from several threads. `orders`: groups that are to be started anew now."""

    def __init__(self, names: Iterable[str], policy: Escalation, note: Note) -> None:
        self._groups = {name: Group() for name in names}
        self._policy, self._note = policy, note
        self._lock = threading.Lock()
        self._restarting: set[str] = set()
        self.orders: deque[str] = deque()

    def recall(self, events: Iterable[SupervisionEvent]) -> None:
        """How it stood when an earlier Supervisor of this run ended, from its events."""
        for event in events:
            group = self._groups.get(event.subject)
            if event.kind == "started":
                self._groups = dict.fromkeys(self._groups, Group())
            elif group is None:
                continue
            elif event.kind == "group_restarted":
                self._groups[event.subject] = Group(phase="restarted", since=event.at, reason=event.detail)
            elif event.kind == "group_held":
                held = Group(phase="held", since=event.at, until=event.until, holds=group.holds + 1, reason=event.detail)
                self._groups[event.subject] = held
            elif event.kind == "group_tried":
                self._groups[event.subject] = replace(group, phase="tried", since=event.at)
            elif event.kind == "group_recovered":
                self._groups[event.subject] = Group(since=event.at)

    def ask(self, name: str, child: str, starts: Sequence[float], intensity: Intensity, go: Go, now: float) -> Go:
        """May a shell of this group recover? `go`: what its own restarts say."""
        with self._lock:
            group = self._groups[name]
            if name in self._restarting:
                return Go(decision="wait", wait_s=0.2, reason=f"the group {name} is started anew")
            if group.phase != "held":
                why = cannot_stay_up(group, starts, now, intensity, self._policy)
                if why is None:
                    return go if go.decision != "held" else Go(decision="go")  # held for starts that do not count any more
                group = self._groups[name] = escalate(group, now, f"{child} {why}", self._policy)
                if group.phase == "restarted":
                    self._restarting.add(name)
                    self.orders.append(name)
                    self._note("group_restarted", name, f"{group.reason}: the group {name} is started anew, once")
                    return Go(decision="wait", wait_s=0.2, reason=f"the group {name} is started anew")
                self._note("group_held", name, _held(name, group), until=group.until)
            return Go(decision="held", wait_s=max(0.1, min(ASK_AGAIN_S, group.until - now)), reason=_held(name, group))

    def restarted(self, name: str) -> None:
        """The order was carried out: its shells may go."""
        with self._lock:
            self._restarting.discard(name)

    def look(self, now: float, well: Callable[[str], bool]) -> None:
        with self._lock:
            for name, group in self._groups.items():
                after = pass_time(group, now, well(name), self._policy) if group.phase != "up" else group
                if after.phase == group.phase:
                    continue
                self._groups[name] = after
                if after.phase == "tried":
                    self._note("group_tried", name, f"the group {name} is tried again")
                elif group.phase == "tried":
                    self._note("group_recovered", name, f"the group {name} stays up again")

    def release(self, name: str, now: float) -> None:
        """By hand: whatever it was, it may start as one that was never in trouble, once more."""
        with self._lock:
            if self._groups[name].phase == "held":
                self._groups[name] = replace(self._groups[name], phase="tried", since=now)
                self._note("group_tried", name, f"the group {name} is tried again, by hand")

    def held(self) -> dict[str, str]:
        """Those that are held, and why, in a sentence."""
        with self._lock:
            return {name: _held(name, group) for name, group in self._groups.items() if group.phase == "held"}


def _held(name: str, group: Group) -> str:
    at = datetime.fromtimestamp(group.until).strftime("%H:%M:%S")
    reason = group.reason.partition(": the group ")[0]
    return f"{reason}: the group {name} is held until {at}, or until `perenne restart {name}`"
