"""Writes of alerts, of who hears of them, and of the outbox. What an alert's change tells and the rows of the outbox that tell it are
in one transaction."""

from dataclasses import dataclass, field

from perenne.messages.alerts import ChannelKind, Severity
from perenne.messages.commands import Command

# Alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How messages follow each other. A group's first waits `wait_s` for others of its group, the next at least `interval_s` after
    the one before. Of one fingerprint `per_fingerprint` changes within `window_s` are told, of all `in_all` (but for critical ones);
    what is more is held back for a summary."""

    wait_s: float = 10.0
    interval_s: float = 300.0
    window_s: float = 3_600.0
    per_fingerprint: int = 6
    in_all: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseAlert(Command):
    """-> Alert. Opens it, or refreshes the one of this fingerprint that is open (whose id it keeps): what it says, when it was last
    seen, how often. Told when it begins, when its severity rises, and when what kept it quiet is over."""

    alert_id: str
    fingerprint: str
    severity: Severity
    event: str
    title: str
    text: str = ""
    advice: str = ""
    labels: dict[str, str] = field(default_factory=dict[str, str])
    group: str = ""
    inhibited_by: str | None = None
    seen: int = 1
    first_seen: float | None = None
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveAlert(Command):
    """-> Alert. Harmless twice. Who was told that it began is told that it is over, unless it is silenced."""

    alert_id: str
    text: str = ""
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeAlert(Command):
    """-> Alert. Somebody has seen it: it is escalated no more. The first stays."""

    alert_id: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateAlert(Command):
    """-> Alert. Told again, to subscribers up to `level`. Nothing happens when it was escalated so often already, is over,
    acknowledged, silenced or inhibited."""

    alert_id: str
    level: int
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class SummarizeHeld(Command):
    """-> Held: how many changes that were held back are told now, one message a subscriber. Those of a fingerprint that still has no
    room wait on."""

    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestAlert(Command):
    """-> Alert, over at once. A message to the channel, or to every subscriber whatever they want to hear of."""

    __test__ = False  # no test of pytest's

    alert_id: str
    channel_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetAlerts(Command):
    """-> Held: how many alerts that were over before `before` are gone, with messages that arrived or were given up before it."""

    before: float


# Silences, channels, subscribers


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSilence(Command):
    """-> Silence, from now on for `length_s`. InvalidRequest when it has neither event types nor labels, or is no length of time."""

    silence_id: str
    events: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict[str, str])
    reason: str = ""
    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSilence(Command):
    """-> Deleted. What it kept quiet and is still firing is told when the centre sees it next."""

    silence_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateChannel(Command):
    """-> Channel; Conflict when there is one of that name. `address` is what is shown of `url`."""

    channel_id: str
    name: str
    kind: ChannelKind
    url: str = field(repr=False)
    address: str
    signing_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateSecret(Command):
    """-> Channel. Messages are signed by the new secret and by the last one before it, until the next rotation; with None by the newest
    alone. InvalidRequest when the channel is no webhook."""

    channel_id: str
    signing_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteChannel(Command):
    """-> Deleted, with its subscribers and what is on its way over it."""

    channel_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSubscriber(Command):
    """-> Subscriber; see there for the fields. NotFound when there is no such channel."""

    subscriber_id: str
    name: str
    channel_id: str
    events: tuple[str, ...] = ()
    severity: Severity = "warning"
    quiet_from: str | None = None
    quiet_until: str | None = None
    time_zone: str = "UTC"
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSubscriber(Command):
    """-> Deleted, with what is on its way to it."""

    subscriber_id: str


# The outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseDeliveries(Command):
    """-> tuple[Delivery, …]: due ones, longest due first, and expired leases; with `take_back` the worker's own at once. None of
    `but_channels`; of any other channel `per_channel` at most, those that are leased counted."""

    worker: str
    limit: int
    lease_s: float
    per_channel: int = 1
    but_channels: tuple[str, ...] = ()
    take_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishDelivery(Command):
    """-> Delivery, delivered; LeaseLost when it is another's."""

    delivery_id: str
    lease_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailDelivery(Command):
    """-> Delivery: pending again after `retry_in_s`, or dead when that is None; LeaseLost when it is another's. `error` must hold no
    secret."""

    delivery_id: str
    lease_token: str
    error: str
    retry_in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostponeDelivery(Command):
    """-> Delivery, pending until then as if it had not been tried; LeaseLost when it is another's. For quiet hours: nothing is wrong."""

    delivery_id: str
    lease_token: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeliverDelivery(Command):
    """-> Delivery, pending again under its id; Conflict unless it was dead."""

    delivery_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How many."""

    count: int
