"""The log in a repository, by which a backup is carried on to any later moment: where its segments lie, which of them bring which backup to
which moment, and which are no longer needed.

A segment is one object, written whole: `log/CHAIN/…`. No clean-up of pieces has to know of it, and an object store takes one request for it.
Its name is bound to its bytes by the seal, and its bytes begin with the digest of the segment before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from actors.backups.manifest import Summary
from actors.backups.pieces import compress, expand
from actors.backups.sealing import Seal
from actors.backups.storage import Storage
from perenne.errors import BackupDamaged, InvalidRequest
from perenne.log_segments import (
    FOLDER,
    SEGMENT_MOST_BYTES,
    Segment,
    begun,
    content_of,
    digest_of,
    next_salts,
    segment_of,
)

NOTE = "log"  # in a backup's label: where in the log its copy was made
AT = "cut_at"  # in a backup's label: everything in it was committed before
_OBJECT_MOST_BYTES = SEGMENT_MOST_BYTES + 64  # codec and seal
DAY_S = 86_400.0


class Log:
    """The segments in one repository. Any thread may call."""

    def __init__(self, storage: Storage, seal: Seal) -> None:
        self._storage, self._seal = storage, seal

    def segments(self) -> list[Segment]:
        """All that are there, chain by chain, each in its order."""
        found = (segment_of(name) for name, _ in self._storage.sizes(FOLDER))
        return sorted((each for each in found if each is not None), key=lambda each: (each.chain, each.number))

    def put(self, segment: Segment, packed: bytes) -> None:
        """Store one, durably, and read it back. The same one again is harmless. ValueError for bytes that are not its own."""
        content_of(segment, packed)
        self._storage.write(segment.object_name, self._seal.close(_label(segment), compress(packed)))
        self._storage.settle([segment.object_name.rpartition("/")[0]])
        if self.get(segment) != packed:
            raise BackupDamaged(segment.object_name, "it is not what was just written")

    def get(self, segment: Segment) -> bytes:
        """Its bytes, checked. BackupDamaged when it is missing or not what it was; StorageFailed."""
        try:
            stored = self._storage.read(segment.object_name, _OBJECT_MOST_BYTES)
        except FileNotFoundError:
            raise BackupDamaged(str(segment), "it is missing") from None
        try:
            packed = expand(self._seal.open(_label(segment), stored), SEGMENT_MOST_BYTES, str(segment))
            content_of(segment, packed)
        except BackupDamaged as error:
            raise BackupDamaged(str(segment), error.reason) from None
        except ValueError as error:
            raise BackupDamaged(str(segment), str(error)) from None
        return packed

    def drop(self, segments: Sequence[Segment]) -> None:
        """Remove them, the oldest first, so that what is left when this is killed is the end of a chain."""
        for segment in segments:
            self._storage.remove(segment.object_name)


@dataclass(frozen=True, slots=True)
class Target:
    """A moment to come back to: the last commit at or before it. One of the two: a number of the feed, or UTC in ms."""

    seq: int | None = None
    at_ms: int | None = None

    def reached_by(self, segment: Segment) -> bool:
        """Whether what is looked for surely ends before this segment does."""
        return segment.seq > self.seq if self.seq is not None else segment.at_ms > (self.at_ms or 0)

    def __str__(self) -> str:
        return f"change {self.seq:,}" if self.seq is not None else _utc((self.at_ms or 0) / 1000)


@dataclass(frozen=True, slots=True)
class Run:
    """What carries a backup on: segments without a gap, from the head of the log in which its copy was made. `frame`: the last one that is in
    the copy already. `missing`: what the first gap lacks, if there is one."""

    backup: Summary
    segments: tuple[Segment, ...] = ()
    frame: int = 0
    missing: str = ""

    @property
    def room_bytes(self) -> int:
        """What its segments take at most once they are unpacked and what they hold is in the database, at SQLite's page of 4 KiB."""
        return 3 * sum(each.last - each.first + 1 for each in self.segments) * (4096 + 24)

    @property
    def reach(self) -> int:
        """The feed's number up to which it can surely be carried."""
        return max(self.backup.cut.seq, self.segments[-1].seq if self.segments else 0)

    @property
    def reach_at(self) -> float:
        """The moment up to which it can surely be carried."""
        return max(made_at(self.backup), self.segments[-1].at_ms / 1000 if self.segments else 0.0)


def made_at(backup: Summary) -> float:
    """When its copy was made."""
    return float(backup.cut.notes.get(AT, backup.created_at))


def run_of(backup: Summary, segments: Sequence[Segment]) -> Run:
    """What carries a backup on, of all segments in their order."""
    salts, _, frame = backup.cut.notes.get(NOTE, "").partition("-")
    place = next(
        (n for n, each in enumerate(segments) if each.salts == salts and each.first <= int(frame or 0) <= each.last), None
    )
    if place is None:
        later = next((each for each in segments if each.salts == salts and each.first > int(frame or 0)), None)
        return Run(backup, missing="" if later is None else f"segment {later.number - 1} of {later.chain} is missing")
    begin = place
    while segments[begin].first != 1:
        if begin == 0 or not _follows(segments[begin - 1], segments[begin]):
            return Run(backup, missing=f"segment {segments[begin].number - 1} of {segments[begin].chain} is missing")
        begin -= 1
    end = begin + 1
    while end < len(segments) and _follows(segments[end - 1], segments[end]):
        end += 1
    gap = ""
    if end < len(segments) and segments[end].chain == segments[end - 1].chain:
        gap = f"segment {segments[end - 1].number + 1} of {segments[end].chain} is missing"
    return Run(backup, tuple(segments[begin:end]), int(frame), gap)


def _follows(before: Segment, after: Segment) -> bool:
    if (before.chain, before.number + 1) != (after.chain, after.number):
        return False
    if after.salts == before.salts:
        return after.how == "follows" and after.first == before.last + 1
    return after.first == 1 and (
        after.how == "reopened" or (after.how == "follows" and after.salts[:8] == next_salts(before.salts))
    )


def plan(backups: Sequence[Summary], segments: Sequence[Segment], target: Target, backup_id: str | None = None) -> Run:
    """The newest backup (or the one that is named) from which `target` can be reached, with the segments for it, and no more of them than it
    takes. InvalidRequest when it can't be reached, saying from when to when there are moments; BackupDamaged when a segment is missing
    on the way."""
    before = [
        each
        for each in sorted(backups, key=lambda each: each.ordinal, reverse=True)
        if each.cut.database == "sqlite"
        and (each.cut.seq <= target.seq if target.seq is not None else made_at(each) * 1000 <= (target.at_ms or 0))
        and backup_id in (None, each.id)
    ]
    if not before:
        raise InvalidRequest(
            f"{target} is before the first backup that could bring it back; {_offered(backups, segments)}", "at"
        )
    # After a restore the feed's numbers go on from there, so that one number may mean two moments: the database that was last is meant.
    runs = [run_of(each, segments) for each in before if each.cut.origin == before[0].cut.origin]
    for run in runs:
        for count, segment in enumerate(run.segments, 1):
            if target.reached_by(segment):
                return Run(run.backup, run.segments[:count], run.frame)
        if target.seq is not None and target.seq <= run.reach:
            return run
    best = max(runs, key=lambda run: (run.reach, run.backup.ordinal))
    if best.missing:
        raise BackupDamaged(
            best.missing.removesuffix(" is missing"), f"it is missing, and without it {target} can't be reached"
        )
    if target.seq is not None:
        raise InvalidRequest(f"{target} can't be brought back; {_offered(backups, segments)}", "at")
    if _goes_on(best, backups, segments):
        raise InvalidRequest(
            f"after {_utc(best.reach_at)} (change {best.reach:,}) the log was not kept for a while, so {target} can't be brought back; "
            f"{_offered(backups, segments)}",
            "at",
        )
    return best  # to the last moment that is there


def _goes_on(run: Run, backups: Sequence[Summary], segments: Sequence[Segment]) -> bool:
    """Whether there is anything of the same database that is later than all that a run leads to."""
    own = [each for each in backups if each.cut.origin == run.backup.cut.origin]
    chains = {segment.chain for each in own for segment in run_of(each, segments).segments[:1]}
    if run.backup is max(backups, key=lambda each: each.ordinal) and segments:
        chains.add(segments[-1].chain)  # begun since, and no backup was made in it yet
    return any(each.cut.seq > run.reach for each in own) or any(
        each.seq > run.reach for each in segments if each.chain in chains
    )


def stretches(backups: Sequence[Summary], segments: Sequence[Segment]) -> list[tuple[Summary, Run]]:
    """Each backup with what carries it on."""
    return [(each, run_of(each, segments)) for each in backups]


def _offered(backups: Sequence[Summary], segments: Sequence[Segment]) -> str:
    """From when to when there are moments, the newest stretch first."""
    found: list[tuple[int, int, str]] = []
    for backup, run in stretches(sorted(backups, key=lambda each: each.ordinal), segments):
        if backup.cut.database != "sqlite":
            continue
        words = f"{_utc(made_at(backup))} (change {backup.cut.seq:,})"
        if run.segments:
            words += f" to {_utc(run.reach_at)} (change {run.reach:,})"
        found.append((backup.cut.seq, run.reach, words))
    return f"there are: {'; '.join(words for _, _, words in found[::-1][:5])}" if found else "there is no backup of SQLite"


def unneeded(backups: Sequence[Summary], segments: Sequence[Segment], days: float, now: float) -> list[Segment]:
    """The segments that no moment of the last `days` needs: in each chain those before the newest backup that is older than that, and chains
    that ended before then. The chain that is written stays whole until a backup was made in it."""
    horizon = now - days * DAY_S
    written = {segments[-1].chain} if segments else set[str]()
    newest = max(backups, key=lambda each: each.ordinal, default=None)
    if newest is not None:
        written |= {each.chain for each in run_of(newest, segments).segments[:1]}
    gone: list[Segment] = []
    for chain in sorted({each.chain for each in segments}):
        own = [each for each in segments if each.chain == chain]
        if chain not in written and own[-1].at_ms / 1000 < horizon:
            gone += own
            continue
        runs = [run for run in (run_of(each, own) for each in backups) if run.segments]
        old = [run for run in runs if made_at(run.backup) <= horizon]
        if runs:
            first = max(run.segments[0].number for run in old) if old else min(run.segments[0].number for run in runs)
            gone += [each for each in own if each.number < first]
    return gone


def unpack(log: Log, segments: Sequence[Segment], folder: Path) -> list[Path]:
    """The log's generations as files that SQLite can read, in their order. BackupDamaged for a segment that is missing, damaged or not the one
    that follows the one before it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files: list[Path] = []
    digest = b""
    before: Segment | None = None
    header = b""
    for segment in segments:
        packed = log.get(segment)
        content = content_of(segment, packed)
        if before is None:
            if segment.how == "begins" and content.before != begun():
                raise BackupDamaged(str(segment), "it begins a chain and names a segment before it")
        elif not _follows(before, segment) or content.before != digest:
            raise BackupDamaged(str(segment), f"it does not follow {before}")
        if before is None or segment.salts != before.salts:
            header = content.header
            files.append(folder / f"{len(files) + 1:06}.log")
            files[-1].write_bytes(header)
        elif content.header != header:
            raise BackupDamaged(str(segment), f"it is of another log than {before}")
        with files[-1].open("ab") as file:
            file.write(content.frames)
        digest, before = digest_of(packed), segment
    return files


def _label(segment: Segment) -> str:
    return f"log {segment.object_name}"


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
