"""Which backups stay: the newest of each of the last hours, days, weeks and months."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from perenne.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Retention:
    """How many hours, days, weeks and months keep their newest backup, and how many of the latest stay whatever their age.
    Hours without a backup don't count. Times are UTC, weeks are ISO 8601's."""

    hourly: int = 24
    daily: int = 7
    weekly: int = 4
    monthly: int = 12
    last: int = 3

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise InvalidRequest(f"{name}: expected 0 or more, got {getattr(self, name)}", name)
        if self.last < 1:
            raise InvalidRequest(f"last: expected 1 or more, got {self.last}: the latest backup always stays", "last")


class Dated(Protocol):
    """What is kept or not."""

    @property
    def id(self) -> str: ...
    @property
    def ordinal(self) -> int: ...
    @property
    def created_at(self) -> float: ...


_BUCKETS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: at.strftime("%Y-%m-%dT%H"),
    "daily": lambda at: at.strftime("%Y-%m-%d"),
    "weekly": lambda at: "{}-W{:02}".format(*at.isocalendar()),
    "monthly": lambda at: at.strftime("%Y-%m"),
}


def kept(backups: Sequence[Dated], retention: Retention, spare: Collection[str] = ()) -> dict[str, str]:
    """The ids that stay, each with the reason. Newest means made last (`ordinal`), not dated last: after a clock was set back, what is made
    now stays, and what bears a date to come loses its place as any other does."""
    newest_first = sorted(backups, key=lambda backup: (backup.ordinal, backup.id), reverse=True)
    stay = {backup.id: "spared" for backup in newest_first if backup.id in spare}
    for backup in newest_first[: retention.last]:
        stay.setdefault(backup.id, "last")
    for rule, bucket in _BUCKETS.items():
        seen: set[str] = set()
        for backup in newest_first:
            if len(seen) == getattr(retention, rule):
                break
            name = bucket(datetime.fromtimestamp(backup.created_at, UTC))
            if name not in seen:
                seen.add(name)
                stay.setdefault(backup.id, rule)
    return stay
