"""Backups that were made before a migration: which is of this very database, and how long they stay beside the ordinary rules."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from actors.backups.manifest import Summary

KIND = "before-migration"
TO, EPOCH = "to", "epoch"  # notes of such a backup
MIGRATIONS_KEPT = 2  # the last ones, however long ago
KEPT_S = 30 * 86_400.0  # any of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A database that is about to be brought from one version to another. Every writer raises the epoch first, so that two of the same
    epoch are the same rows."""

    origin: str
    epoch: int
    held: str
    wanted: str

    @property
    def notes(self) -> dict[str, str]:
        return {TO: self.wanted, EPOCH: str(self.epoch)}

    def is_in(self, summary: Summary) -> bool:
        """Whether that backup is of this moment."""
        cut = summary.cut
        return (
            cut.kind == KIND
            and (cut.origin, cut.revision) == (self.origin, self.held)
            and self.notes.items() <= dict(cut.notes).items()
        )


def of_moment(backups: Sequence[Summary], moment: Moment) -> Summary | None:
    """The one made last of this very moment."""
    return next((summary for summary in _newest_first(backups) if moment.is_in(summary)), None)


def before_version(backups: Sequence[Summary], *, origin: str, held: str, earlier: Collection[str]) -> Summary | None:
    """The one made last before this database came to the version that it holds, from an `earlier` one: not the one made before it was
    rolled back to it."""
    for summary in _newest_first(backups):
        cut = summary.cut
        if cut.kind == KIND and cut.origin == origin and cut.notes.get(TO) == held and cut.revision in earlier:
            return summary
    return None


def spared(backups: Sequence[Summary], now: float) -> frozenset[str]:
    """Those that no rule of hours and days removes: of each migration the one made last, for the last two migrations (a backup before
    version 9 became 10 goes when there is one before 11 becomes 12), and those of the last 30 days."""
    newest: dict[tuple[str, str, str], Summary] = {}
    for summary in _newest_first(backups):
        if summary.cut.kind == KIND:
            newest.setdefault((summary.cut.origin, summary.cut.revision, summary.cut.notes.get(TO, "")), summary)
    held = enumerate(newest.values())
    return frozenset(s.id for place, s in held if place < MIGRATIONS_KEPT or abs(now - s.created_at) < KEPT_S)


def _newest_first(backups: Sequence[Summary]) -> list[Summary]:
    return sorted(backups, key=lambda summary: (summary.ordinal, summary.id), reverse=True)
