"""How long something has held: what lies between a value and an alert. Pure, with the time given."""

from dataclasses import dataclass, replace
from typing import Literal

from actors.alerts.rules import Rule
from perenne.messages.alerts import Signal


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one rule and one subject. `since`: since when it holds without a break; `clear_since`: since when it is back, while it fires.
    `begun`: since when it held at the time that it began to fire."""

    firing: bool = False
    since: float | None = None
    clear_since: float | None = None
    begun: float | None = None
    heard: float = 0.0
    signal: Signal | None = None


Verdict = Literal["fires", "over"]


def moved(standing: Standing, by_s: float) -> Standing:
    """The same, by a clock that was set: what has held for a minute still has."""

    def at(moment: float | None) -> float | None:
        return None if moment is None else moment + by_s

    return replace(
        standing,
        since=at(standing.since),
        clear_since=at(standing.clear_since),
        begun=at(standing.begun),
        heard=standing.heard + by_s,
    )


def heard(rule: Rule, standing: Standing, signal: Signal, now: float) -> Standing:
    """After a signal. One that lies between the bound and what clears it changes nothing."""
    standing = replace(standing, heard=now, signal=signal)
    if rule.holds(signal.value):
        return replace(standing, since=now if standing.since is None else standing.since, clear_since=None)
    if standing.firing and not rule.clear(signal.value):
        return replace(standing, since=None, clear_since=None)
    clear_since = now if standing.clear_since is None else standing.clear_since
    return replace(standing, since=None, clear_since=clear_since if standing.firing else None)


def gone(standing: Standing, now: float) -> Standing:
    """Its subject is no more, or nobody tells of it any more."""
    clear_since = now if standing.clear_since is None else standing.clear_since
    return replace(standing, since=None, clear_since=clear_since if standing.firing else None)


def judged(rule: Rule, standing: Standing, now: float) -> tuple[Standing, Verdict | None]:
    """What the time that went by means."""
    if rule.stale_s and (standing.firing or standing.since is not None) and now - standing.heard > rule.stale_s:
        standing = gone(standing, now)
    if not standing.firing and standing.since is not None and now - standing.since >= rule.for_s:
        return replace(standing, firing=True, clear_since=None, begun=standing.since), "fires"
    if standing.firing and standing.clear_since is not None and now - standing.clear_since >= rule.keep_s:
        return Standing(heard=standing.heard, signal=standing.signal), "over"
    return standing, None
