"""Backups in a folder or behind a URL. All that other modules need of the repository is in here.

    with Repository.open("/backups", passphrase=None, create=True) as repository:
        with repository.begin() as writer:
            writer.add_file("store/perenne.db", Path("copy.db"))
            manifest = writer.commit(Cut(kind="manual"))
        assert repository.verify(manifest.id).ok
        repository.restore_file(manifest.entries[0], Path("again.db"))
        repository.prune(Retention())

What lies in the target: `repository.json` and a copy of it (`charter`), `manifests/ID`, `pieces/ab/cdef…`, `marks/` (who is at
work), `log/` (`moments`), `incoming/` (half-written, dropped by the next prune), `damaged/` (what `mend` set aside)."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.backups import charter as charters
from actors.backups import manifest as manifests
from actors.backups import pieces, reading, retention, sweep
from actors.backups.charter import Charter
from actors.backups.manifest import Cut, FileEntry, Manifest, Summary
from actors.backups.marks import Marks
from actors.backups.moments import Log, unneeded
from actors.backups.pieces import Pieces
from actors.backups.reading import Finding, Report
from actors.backups.retention import Retention
from actors.backups.storage import Storage, open_storage
from actors.backups.writer import Writer
from perenne.clock import Clock, SystemClock
from perenne.errors import BackupDamaged, Busy, NotFound, PerenneError

__all__ = [
    "Cut",
    "Damaged",
    "FileEntry",
    "Finding",
    "Manifest",
    "Pruned",
    "Report",
    "Repository",
    "Retention",
    "Summary",
    "Writer",
]

SWEEP_WAIT_S = 60.0  # how long a backup waits for a clean-up to end before it says Busy
_LOOK_AGAIN_S = 0.1

Moved = Callable[[int], None]  # told of so many bytes more that were read or written: progress


@dataclass(frozen=True, slots=True)
class Damaged:
    """A manifest that is there and can't be believed."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune or a deletion removed."""

    removed: tuple[str, ...]  # ids of backups
    kept: dict[str, str]  # the rest, each with the rule that keeps it
    pieces: int
    bytes_freed: int
    skipped: str  # why pieces stay that could go, such as a backup being written; the next prune removes them. "" when all went


class Repository:
    """Blocking; any thread may call, a `Writer` is one thread's. What the target refuses is StorageFailed."""

    def __init__(self, storage: Storage, charter: Charter, clock: Clock) -> None:
        self._storage, self._seal, self._clock = storage, charter.seal, clock
        self.id = charter.repository_id
        self.encrypted = charter.seal.encrypted
        self.target = storage.shown  # without a password
        self._pieces = Pieces(storage, self._seal)
        self._marks = Marks(storage, clock)
        self.log = Log(storage, self._seal)  # what carries backups on to later moments

    @classmethod
    def open(cls, target: str, passphrase: str | None = None, create: bool = False, clock: Clock | None = None) -> Self:
        """The repository at a folder's path or any URL that fsspec knows (`s3://bucket/folder`, `memory://…`). With `create` an
        empty target becomes one, encrypted if there is a passphrase. NotFound; Conflict for a folder of other things;
        WrongPassphrase; ConfigurationError for a target that can't be reached from here, saying what to install; BackupDamaged."""
        storage = open_storage(target, create)
        try:
            charter = charters.read(storage, passphrase)
        except NotFound:
            if not create:
                raise
            charter = charters.found(storage, passphrase)
        repository = cls(storage, charter, clock or SystemClock())
        if create:
            repository._marks.keep_reserve()
        return repository

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Harmless twice. Nothing is held open; writers and readers end themselves."""

    def change_passphrase(self, passphrase: str, new: str) -> None:
        """Have another passphrase open it; what is stored stays as it is. If it raises, either may open it."""
        charters.rewrap(self._storage, passphrase, new)

    def begin(self, moved: Moved | None = None) -> Writer:
        """Begin a backup; use it in a `with`. Busy when a clean-up goes on for more than `SWEEP_WAIT_S`."""
        held = self._marks.take("write")
        try:
            deadline = time.monotonic() + SWEEP_WAIT_S
            while any(mark.kind == "sweep" for mark in self._marks.others(held)):
                if time.monotonic() >= deadline:
                    raise Busy("the clean-up of the backups", 60.0)
                time.sleep(_LOOK_AGAIN_S)
            return Writer(self._storage, self._seal, self._clock, held, self._next_ordinal, moved or _nothing)
        except BaseException:
            held.release()
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While this lasts no piece is removed: for restoring a backup file by file beside a prune."""
        held = self._marks.take("read")
        try:
            yield
        finally:
            held.release()

    def list(self) -> list[Summary]:
        """All backups that can be read, the one made last first."""
        return self._listed()[0]

    def damaged(self) -> "list[Damaged]":
        """Backups whose manifest is damaged. They can only be deleted, and nothing is cleaned up before."""
        return self._listed()[1]

    def manifest(self, id: str) -> Manifest:
        """One backup with its files. NotFound; InvalidRequest for what is no id; BackupDamaged."""
        try:
            data = self._storage.read(manifests.object_name(id), manifests.OBJECT_MOST_BYTES)
        except FileNotFoundError:
            raise NotFound("backup", id) from None
        return manifests.decode(id, data, self._seal)

    def verify(self, id: str, read_data: bool = True, moved: Moved | None = None) -> Report:
        """Read a backup back and check every hash and size; without `read_data` only whether all pieces are there. What is
        damaged, missing or unreadable is in the report and never raised; NotFound when there is no such backup."""
        before = [Finding(name, reason) for name, reason in self._charter_damage()]
        try:
            manifest = self.manifest(id)
        except (NotFound, PerenneError) as error:
            if isinstance(error, NotFound):
                raise
            reason = error.reason if isinstance(error, BackupDamaged) else str(error)
            before.append(Finding(f"{manifests.FOLDER}/{id}", reason))
            return Report(id, tuple(before), len(before), 0, 0, 0, 0, 0.0, read_data)
        with self.reading():
            verification = reading.Verification(manifest, self._pieces, self._storage.threads, moved or _nothing)
            return verification.run(read_data, before)

    def mend(self, report: Report) -> int:
        """Set the damaged pieces of a report aside, so that the next backup that has their bytes stores them again, which heals
        every backup that names them; and the repository's own file from its copy. How many pieces were set aside."""
        count = 0
        charters.mend(self._storage)
        for finding in report.findings:
            if not finding.what.startswith(f"{pieces.FOLDER}/"):
                continue
            try:
                self._pieces.get("".join(finding.what.split("/")[1:]))
            except BackupDamaged:  # still
                try:
                    self._storage.rename(finding.what, f"{sweep.DAMAGED}/{finding.what.replace('/', '-')}")
                    count += 1
                except FileNotFoundError:
                    continue
        return count

    def restore_file(self, entry: FileEntry, path: Path, moved: Moved | None = None) -> None:
        """Write a backed up file to `path`, in a folder that is there, over what was there. If this returns, its bytes are those that were
        backed up, and durable. If it raises, `path` is as it was: BackupDamaged, StorageFailed."""
        reading.restore(entry, path, self._pieces, self._storage.threads, moved or _nothing)

    def prune(self, retention: Retention, spare: Collection[str] = (), moments_days: float | None = None) -> Pruned:
        """Remove the backups that no rule keeps, then the pieces that none names. Those in `spare` stay whatever the rules say;
        so do damaged ones (see `damaged`). Killed at any point it leaves every listed backup whole; run again it goes on.
        With `moments_days`, the log's segments that no moment of those days needs go too, unless something is being read."""
        backups, _ = self._listed()
        kept = retained(backups, retention, spare)
        gone = tuple(backup.id for backup in backups if backup.id not in kept)
        pruned = self._remove(gone, kept)
        if moments_days is not None and not pruned.skipped:
            self.log.drop(unneeded(self._listed()[0], self.log.segments(), moments_days, self._clock.now()))
        return pruned

    def delete(self, id: str) -> Pruned:
        """Remove one backup, damaged or not, and the pieces that only it named. NotFound; InvalidRequest for what is no id."""
        name = manifests.object_name(id)
        if not any(there == name for there, _ in self._storage.sizes(manifests.FOLDER)):
            raise NotFound("backup", id)
        return self._remove((id,), {backup.id: "not asked for" for backup in self._listed()[0] if backup.id != id})

    def _remove(self, gone: tuple[str, ...], kept: dict[str, str]) -> Pruned:
        for backup in gone:
            self._storage.remove(manifests.object_name(backup))
        self._storage.settle([manifests.FOLDER])  # before a piece of theirs goes: a power cut must not bring them back
        swept = sweep.sweep(self._storage, self._seal, self._marks)
        return Pruned(gone, kept, swept.pieces, swept.bytes_freed, swept.skipped)

    def _listed(self) -> "tuple[list[Summary], list[Damaged]]":
        whole: list[Summary] = []
        broken: list[Damaged] = []
        for name, _ in list(self._storage.sizes(manifests.FOLDER)):
            backup = manifests.id_of(name)
            if backup is None:
                continue
            try:
                data = self._storage.read(name, manifests.HEAD_MOST_BYTES, head=True)
                whole.append(manifests.decode_summary(backup, data, self._seal))
            except FileNotFoundError:  # deleted just now
                continue
            except BackupDamaged as error:
                broken.append(Damaged(backup, error.reason))
        return sorted(whole, key=lambda s: (s.ordinal, s.id), reverse=True), sorted(broken, key=lambda d: d.id)

    def _next_ordinal(self) -> int:
        return max((summary.ordinal for summary in self._listed()[0]), default=0) + 1

    def _charter_damage(self) -> "list[tuple[str, str]]":
        try:
            return charters.damage(self._storage)
        except PerenneError as error:
            return [(charters.NAMES[0], str(error))]


def retained(backups: "list[Summary]", rules: Retention, spare: Collection[str] = ()) -> dict[str, str]:
    """The ids that a prune would keep, each with the rule that keeps it."""
    return retention.kept(backups, rules, spare)


def _nothing(_: int) -> None:
    pass
