"""What actors say of themselves, and what the Supervisor says of them."""

from dataclasses import dataclass, field
from typing import Any, Literal

ChildState = Literal["starting", "recovering", "ready", "degraded", "waiting", "held", "hung", "dead", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`queue`: work waiting or in hand; `progress_age_s`: since a unit of work last ended. Waiting work and no progress means hung.

    `status`: "recovering", "ready", "degraded" (works in part: `detail` says why) or "held"."""

    name: str
    status: ChildState
    pid: int
    queue: int = 0
    progress_age_s: float = 0.0
    detail: str = ""
    spec_hash: str = ""
    started_at: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """The Supervisor's answer to a shell that was (re)started. `wait_s` says how long to wait before `go` is asked again."""

    decision: Literal["go", "wait", "held"]
    wait_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStatus:
    name: str
    state: ChildState
    pid: int = 0
    restarts: int = 0
    detail: str = ""
    since: float = 0.0
    kind: Literal["actor", "application", "process"] = "actor"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeStatus:
    """`ready`: all that answering needs is up; `reasons` says what is not, in plain words. `notices`: what works in part only, or
    will soon, whether ready or not."""

    ready: bool
    children: tuple[ChildStatus, ...]
    reasons: tuple[str, ...] = ()
    version: str = ""
    started_at: float = 0.0
    notices: tuple[str, ...] = ()


EventKind = Literal[
    "started",
    "stopped",
    "child_died",
    "child_hung",
    "child_over_budget",
    "child_replaced",
    "group_restarted",
    "group_held",
    "group_tried",
    "group_recovered",
    "disk_low",
    "disk_full",
    "disk_recovered",
    "memory_low",
    "memory_recovered",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionEvent:
    """One thing that the Supervisor saw or did, told once however often its cause repeats. `seq` rises by one with each event of a home;
    `subject`: the child or group, "disk" or "memory"; `detail`: a sentence for the owner; `until`: when a held group is tried again;
    `record`: the id of a `Crash`."""

    seq: int
    at: float
    kind: EventKind
    subject: str
    detail: str = ""
    until: float = 0.0
    record: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A process that ended otherwise than it should. `exit_code` or `signal` (`SIGSEGV`), both None where nobody could see it; `log`:
    its last lines, without what was in quotes and without keys."""

    id: str
    at: float
    name: str
    pid: int
    exit_code: int | None = None
    signal: str | None = None
    detail: str = ""
    log: tuple[str, ...] = ()
