"""Decisions about restarts, pure: what happened and when goes in, what to do comes out."""

import random
from dataclasses import dataclass

from perenne.messages.health import ChildState, Go


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """How often a child may start. `free` starts in a window go at once, the next wait from `backoff_s` doubling to
    `backoff_max_s`; from `held_after` starts in a window on it is held until the window has room again."""

    window_s: float = 60.0
    free: int = 4
    backoff_s: float = 0.25
    backoff_max_s: float = 8.0
    held_after: int = 16


def recent(starts: tuple[float, ...], now: float, window_s: float) -> tuple[float, ...]:
    return tuple(start for start in starts if now - start < window_s)


def decide(starts: tuple[float, ...], now: float, intensity: Intensity, seed: int) -> Go:
    """Whether the shell whose start is the last of `starts` may recover now. Jitter comes from the seed (its process id), so
    that asking again gives the same due time."""
    inside = recent(starts, now, intensity.window_s)
    if not inside or len(inside) <= intensity.free:
        return Go(decision="go")
    if len(inside) > intensity.held_after:
        room_at = inside[-intensity.held_after - 1] + intensity.window_s
        reason = f"held: started {len(inside)} times in {intensity.window_s:g} s"
        return Go(decision="held", wait_s=max(0.1, min(5.0, room_at - now)), reason=reason)
    excess = len(inside) - intensity.free - 1
    backoff = min(intensity.backoff_max_s, intensity.backoff_s * 2**excess)
    due = inside[-1] + backoff * random.Random(seed).uniform(0.75, 1.25)
    if now >= due:
        return Go(decision="go")
    return Go(decision="wait", wait_s=due - now, reason=f"start {len(inside)} in {intensity.window_s:g} s: backing off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When a child counts as hung. The process may be busy importing for `birth_s`; after that `silent` unanswered pings in a
    row, or work waiting with no progress for `progress_s`, end its life."""

    birth_s: float = 90.0
    silent: int = 3
    progress_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was last seen of a child."""

    state: ChildState
    born_at: float
    answered: bool = False  # this process has answered at least once
    unanswered: int = 0
    queue: int = 0
    progress_age_s: float = 0.0


def hung(sight: Sight, now: float, patience: Patience) -> str | None:
    """Why the child counts as hung, or None."""
    if sight.unanswered >= patience.silent and (sight.answered or now - sight.born_at > patience.birth_s):
        return f"gave no answer to {sight.unanswered} pings"
    working = sight.state in ("ready", "degraded")
    if working and sight.queue > 0 and sight.progress_age_s > patience.progress_s:
        return f"{sight.queue} waiting and no progress for {sight.progress_age_s:.0f} s"
    return None
