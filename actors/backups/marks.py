"""Who is at work in a repository: a small file in the target for each, refreshed while its process lives.

Backups and readers work beside each other; a sweep (which removes pieces that no backup names) works alone: each first leaves its mark
and then looks for the others', so that of two at least one sees the other. A mark whose process died is void at once on the
same machine, elsewhere after `EXPIRY_S`."""

import hashlib
import logging
import os
import threading
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from actors.backups.storage import Storage
from perenne.clock import Clock
from perenne.errors import BackupDamaged, StorageFailed

log = logging.getLogger(__name__)

FOLDER = "marks"
RESERVE = f"{FOLDER}/reserve"  # room for a mark on a full disk, so that a prune can make more
_RESERVE_BYTES = 65_536
EXPIRY_S = 900.0  # a mark that wasn't refreshed for so long is void; also one from as far ahead: its clock or ours is wrong
REFRESH_S = 60.0
_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Mark:
    """One that is at work."""

    token: str
    kind: str  # write, read or sweep
    machine: str  # a hash; of another boot or container it is another
    process: str  # process id and start
    started_at: float
    refreshed_at: float


class Held:
    """A mark that is ours. A thread refreshes it until `release`."""

    def __init__(self, marks: "Marks", mark: Mark) -> None:
        self._marks, self.mark = marks, mark
        self._ended = threading.Event()
        threading.Thread(target=self._refresh, name="backup-mark", daemon=True).start()

    def stands(self) -> bool:
        """Whether it is still there: a sweep that took us for dead removes it."""
        mark = self._marks.look(self.mark.kind, self.mark.token)
        return mark is not None and mark.token == self.mark.token

    def release(self) -> None:
        """Harmless twice."""
        if not self._ended.is_set():
            self._ended.set()
            try:
                self._marks.remove(self.mark)
            except StorageFailed as error:
                log.warning("the mark of this process stays until it expires: %s", error)

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH_S):
            try:
                if self.stands():
                    self._marks.refresh(self.mark)
            except (StorageFailed, BackupDamaged, FileNotFoundError) as error:
                log.warning("the mark of a backup could not be refreshed: %s", error)


class Marks:
    """The marks in one repository."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def take(self, kind: str) -> Held:
        """Leave a mark. Durable when this returns."""
        now = self._clock.now()
        mark = Mark(uuid.uuid4().hex, kind, _machine(), _process(os.getpid()) or "", now, now)
        try:
            self._write(mark)
        except StorageFailed:
            self._storage.remove(RESERVE)
            self._write(mark)
        return Held(self, mark)

    def others(self, than: Held) -> list[Mark]:
        """The live marks of others; those that are void are removed first, so that whoever left one and lives after all will
        see that it is gone."""
        live: list[Mark] = []
        for name, _ in list(self._storage.sizes(FOLDER)):
            kind, _, token = name.rpartition("/")[2].partition("-")
            if not token or token == than.mark.token:
                continue
            mark = self.look(kind, token)
            if mark is not None and self._alive(mark):
                live.append(mark)
            else:
                self._storage.remove(name)
        return live

    def look(self, kind: str, token: str) -> Mark | None:
        """A mark by its name; None when it is gone or can't be read."""
        try:
            return Mark(**orjson.loads(self._storage.read(f"{FOLDER}/{kind}-{token}", _LIMIT_BYTES)))
        except (FileNotFoundError, BackupDamaged, orjson.JSONDecodeError, TypeError):
            return None

    def refresh(self, mark: Mark) -> None:
        """It was alive now."""
        self._write(Mark(mark.token, mark.kind, mark.machine, mark.process, mark.started_at, self._clock.now()))

    def remove(self, mark: Mark) -> None:
        self._storage.remove(_name(mark))

    def keep_reserve(self) -> None:
        """Set room aside for a mark, where there is some."""
        try:
            if not any(name == RESERVE for name, _ in self._storage.sizes(FOLDER)):
                self._storage.write(RESERVE, os.urandom(_RESERVE_BYTES))
        except StorageFailed as error:
            log.info("no room is set aside in the backups: %s", error)

    def _write(self, mark: Mark) -> None:
        self._storage.write(_name(mark), orjson.dumps(asdict(mark)))
        self._storage.settle([FOLDER])

    def _alive(self, mark: Mark) -> bool:
        if mark.machine and mark.machine == _machine() and mark.process:
            return _process(int(mark.process.partition(":")[0])) == mark.process
        return isinstance(mark.refreshed_at, int | float) and abs(self._clock.now() - mark.refreshed_at) <= EXPIRY_S


def _name(mark: Mark) -> str:
    return f"{FOLDER}/{mark.kind}-{mark.token}"


def _machine() -> str:
    """This boot of this machine, as seen from this container; nothing where processes can't be looked at like that."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return hashlib.sha256(f"{boot}{os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:32]
    except OSError:
        return ""


def _process(pid: int) -> str | None:
    """A process and when it started, in ticks since the boot (proc(5), field 22); None for one that is no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{pid}:{fields[19]}"
