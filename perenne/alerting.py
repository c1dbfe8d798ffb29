"""What alerts mean to those who hear of them: pure questions over records, the same for the database and for whoever asks."""

import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perenne.errors import InvalidRequest
from perenne.messages.alerts import Severity, Silence, Subscriber

SEVERITIES: tuple[Severity, ...] = ("debug", "info", "warning", "critical")  # rising

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_EVENT = re.compile(r"(\*|[a-z0-9_]+(\.[a-z0-9_]+)*(\.?\*)?)")


def rank(severity: Severity) -> int:
    """Its place among severities, the least 0."""
    return SEVERITIES.index(severity)


def of_event(patterns: tuple[str, ...], event: str) -> bool:
    """Whether an event type is one of these; none at all stands for every one, and `backup*` for all that begin so."""
    return not patterns or any(event == each or (each.endswith("*") and event.startswith(each[:-1])) for each in patterns)


def wants(subscriber: Subscriber, event: str, severity: Severity, level: int = 0) -> bool:
    """Whether this subscriber hears of it, an alert that was escalated `level` times."""
    loud = rank(severity) >= rank(subscriber.severity)
    return loud and subscriber.level <= level and of_event(subscriber.events, event)


def silences(silence: Silence, event: str, labels: dict[str, str], now: float) -> bool:
    """Whether it keeps such an alert quiet now."""
    meant = of_event(silence.events, event) and all(labels.get(name) == value for name, value in silence.labels.items())
    return meant and now < silence.ends_at


def quiet_end(subscriber: Subscriber, now: float) -> float | None:
    """When the quiet hours that are now end; None outside of them. Clock times are the time zone's, whatever its summer time does."""
    if subscriber.quiet_from is None or subscriber.quiet_until is None:
        return None
    here = datetime.fromtimestamp(now, ZoneInfo(subscriber.time_zone))
    begins, ends = time.fromisoformat(subscriber.quiet_from), time.fromisoformat(subscriber.quiet_until)
    clock = here.time().replace(tzinfo=None)
    inside = begins <= clock < ends if begins < ends else clock >= begins or clock < ends
    if begins == ends or not inside:
        return None
    day = here.date() if clock < ends else here.date() + timedelta(days=1)
    return datetime.combine(day, ends, here.tzinfo).timestamp()


def check_events(events: tuple[str, ...]) -> None:
    """InvalidRequest for what names no event type."""
    for event in events:
        if not _EVENT.fullmatch(event):
            raise InvalidRequest(f"expected an event type such as backup.failed or backup.*, got {event!r}", "events")


def check_hours(quiet_from: str | None, quiet_until: str | None, time_zone: str) -> None:
    """InvalidRequest for hours that no clock shows, one without the other, or a time zone that does not exist."""
    for name, clock in (("quiet_from", quiet_from), ("quiet_until", quiet_until)):
        if clock is not None and not _CLOCK.fullmatch(clock):
            raise InvalidRequest(f"expected a time such as 22:00, got {clock!r}", name)
    if (quiet_from is None) != (quiet_until is None):
        raise InvalidRequest("quiet hours have a beginning and an end: give both quiet_from and quiet_until", "quiet_from")
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest(f"expected a time zone such as Europe/Madrid, got {time_zone!r}", "time_zone") from None


def shown_address(url: str) -> str:
    """What may be shown of where a channel leads: of a URL the scheme, and of a web address the host. Everything else may be secret."""
    scheme, found, rest = url.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "…"
    if scheme.lower() not in ("http", "https"):
        return f"{scheme.lower()}://…"
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme.lower()}://{host}/…" if host else f"{scheme.lower()}://…"
