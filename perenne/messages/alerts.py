"""What the instance tells its owner: alerts, who hears of them, and what is on its way to whom. Times are seconds since 1970 UTC."""

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["critical", "warning", "info", "debug"]
AlertState = Literal["firing", "resolved"]
ChannelKind = Literal["apprise", "webhook"]
DeliveryState = Literal["pending", "leased", "delivered", "dead"]

# Why there is a message: it began, it got worse, nobody acknowledged it, it is over; a number of changes that were held back; a
# message that the owner asked for to see whether one comes.
Transition = Literal["firing", "worse", "escalated", "resolved", "summary", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that its owner should know. Of each `fingerprint` one at most is firing.

    `title` and `text` say what is wrong and `advice` what to do, in plain words. `count`: how often it was seen. `told_at`: when
    subscribers last heard of it; None while it is silenced, or inhibited by another alert that it follows from.
    `level`: how often it was escalated."""

    id: str
    fingerprint: str
    severity: Severity
    state: AlertState
    event: str
    title: str
    text: str = ""
    advice: str = ""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    group: str = ""
    first_seen: float
    last_seen: float
    resolved_at: float | None = None
    count: int = 1
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    silenced_by: str | None = None
    inhibited_by: str | None = None
    told_at: float | None = None
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No messages about alerts that match, until `ends_at`. An empty `events` matches every event type and `labels` those that an
    alert has to have; event types may end in `*`."""

    id: str
    events: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict[str, str])
    reason: str = ""
    created_by: str
    created_at: float
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A way out. `address` is what may be shown of where it leads: never a secret. `error` is the last that went wrong since the
    last message that arrived."""

    id: str
    name: str
    kind: ChannelKind
    address: str
    created_at: float
    delivered_at: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSecret:
    """Where a channel really leads, for the one who sends. `signing_secret`: what webhooks are signed with, the newest first, two at most
    with a space between."""

    id: str
    kind: ChannelKind
    url: str = field(repr=False)
    signing_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Who hears of what, over which channel. An empty `events` means all; event types may end in `*`.

    From `quiet_from` to `quiet_until` (`HH:MM` in `time_zone`) all but critical messages wait until the end of it. `level`: 0 hears
    at once; 1, 2, … hear of a critical alert that was not acknowledged when it was escalated so often."""

    id: str
    name: str
    channel_id: str
    events: tuple[str, ...] = ()
    severity: Severity = "warning"
    quiet_from: str | None = None
    quiet_until: str | None = None
    time_zone: str = "UTC"
    level: int = 0
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing that a message tells, as it was when it happened."""

    alert_id: str
    transition: Transition
    severity: Severity
    event: str
    title: str
    text: str = ""
    advice: str = ""
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one subscriber over one channel: a row of the outbox. It tells of `entries`, those of one group within a window.

    `id` is the idempotency key, the same in every attempt. `lease_token` is only for its holder. A `dead` one can be sent again."""

    id: str
    alert_id: str
    channel_id: str
    subscriber_id: str | None = None
    severity: Severity
    group: str = ""
    entries: tuple[Told, ...] = ()
    state: DeliveryState
    attempt: int = 0
    next_at: float
    worker: str | None = None
    lease_token: str | None = None
    lease_until: float | None = None
    error: str | None = None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came back when a message was sent over a channel to see whether it works. `words` are the sink's, or say what went wrong."""

    channel_id: str
    ok: bool
    words: str = ""
    status: int | None = None
    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing observed now: `name` is what is observed (docs/alerts.md lists them), `subject` of which, `value` how much; `detail` a
    sentence about it for the owner. Where several sources tell of the same thing their values are added (`adds`), or the highest counts."""

    name: str
    value: float
    subject: str = ""
    detail: str = ""
    adds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFigures:
    """Jobs of all users: those that could be worked on now, since when the one that waits longest has not moved, how many failed in the
    time asked for, and why the last did."""

    open: int
    waiting_since: float | None = None
    failed: int = 0
    reason: str | None = None
