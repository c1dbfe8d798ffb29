"""What an instance has and does at this moment, measured from outside: nothing here needs Ray, and a part that does not answer is left out."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from cluster import doorbell, metric_text
from cluster.instance import Instance
from cluster.metrics_command import HISTOGRAMS
from cluster.processes import of_instance
from perenne import metric_table, names
from perenne.errors import PerenneError
from perenne.messages.backups import Schedule
from perenne.messages.health import ChildStatus
from perenne.relief import pss_bytes
from perenne.room import measured
from perenne.schedules import read_schedules
from perenne.settings import Settings

ASK_WITHIN_S = 2.0
_REPLICA = "ray::ServeReplica:"  # what the title of a process of Serve's begins with; then the application
REPLICAS_EVERY_S = 10.0  # all processes of the PC are looked through
METRICS_EVERY_S = 5.0  # Ray renders all of its numbers at each look


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A child; `pid` of its first process where there are several, and their sums. `cpu_percent` of one core since the last look, None at
    the first; `queue` None where nobody could be asked."""

    name: str
    state: str
    pid: int
    restarts: int
    cpu_percent: float | None
    pss_bytes: int
    queue: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One look. `requests_per_s` is of the half minute before the last time that the edge handed its count on; None until known."""

    at: float
    ready: bool
    reasons: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    requests_per_s: float | None = None
    runs: int | None = None
    jobs: int | None = None
    disk_free_bytes: int = 0
    schedules: tuple[Schedule, ...] = ()

    def facts(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


@dataclass(slots=True)
class _Count:
    value: float
    at: float


@dataclass(slots=True)
class Rate:
    """A rate from a counter that is seen anew only now and then."""

    _last: _Count | None = field(default=None)
    per_s: float | None = None

    def see(self, value: float, at: float) -> None:
        """The counter had this value at this moment. One that fell began anew. An unchanged one may not have been handed on yet."""
        last = self._last
        if last is None or value < last.value:
            self._last = _Count(value, at)
        elif value > last.value:
            self.per_s = (value - last.value) / max(at - last.at, 1e-6)
            self._last = _Count(value, at)
        elif at - last.at > 90.0:
            self.per_s = 0.0


class Looker:
    """`look` again and again; each look is measured against the one before."""

    def __init__(self, settings: Settings, instance: Instance) -> None:
        self._settings, self._instance = settings, instance
        self._cpu: dict[int, _Count] = {}
        self._requests, self._metrics_at = Rate(), float("-inf")
        self._replicas: dict[str, list[int]] = {}
        self._replicas_at = float("-inf")

    def look(self) -> Picture:
        """What there is now. Raises nothing: a Supervisor that is away is a reason in the picture."""
        free, _ = measured(self._settings.path())
        schedules = read_schedules(self._settings.home)
        try:
            tree = doorbell.ask_status(self._instance.ray_dir, ASK_WITHIN_S)
            queues: dict[str, int] = doorbell.ask(self._instance.ray_dir, doorbell.QUEUES, ASK_WITHIN_S)["queues"]
        except (PerenneError, KeyError) as error:
            reasons = (f"the Supervisor: {error}",)
            return Picture(at=time.time(), ready=False, reasons=reasons, disk_free_bytes=free, schedules=schedules)
        self._see_requests()
        rows = tuple(self._row(child, queues.get(child.name)) for child in tree.children)
        pids = {pid for child in tree.children for pid in self._pids(child)}
        self._cpu = {pid: seen for pid, seen in self._cpu.items() if pid in pids}
        return Picture(
            at=time.time(),
            ready=tree.ready,
            reasons=tree.reasons,
            rows=rows,
            requests_per_s=self._requests.per_s,
            runs=queues.get(names.RUN_HOST),
            jobs=queues.get(names.INGEST_HOST),
            disk_free_bytes=free,
            schedules=schedules,
        )

    def _row(self, child: ChildStatus, queue: int | None) -> Row:
        pids = self._pids(child)
        shares = [share for pid in pids if (share := self._cpu_of(pid)) is not None]
        return Row(
            name=child.name,
            state=child.state,
            pid=pids[0] if pids else 0,
            restarts=child.restarts,
            cpu_percent=sum(shares) if shares else None,
            pss_bytes=sum(map(pss_bytes, pids)),
            queue=queue,
        )

    def _pids(self, child: ChildStatus) -> list[int]:
        """Its processes. Of the edge, which has no one process, the Supervisor knows none."""
        if child.pid or child.kind != "application":
            return [child.pid] if child.pid else []
        if time.monotonic() - self._replicas_at > REPLICAS_EVERY_S:
            self._replicas, self._replicas_at = {}, time.monotonic()
            for pid, held in of_instance(self._instance.ray_dir).items():
                title = " ".join(held.command()[:1])
                if title.startswith(_REPLICA):
                    self._replicas.setdefault(title.removeprefix(_REPLICA).partition(":")[0], []).append(pid)
        return self._replicas.get(child.name, [])

    def _cpu_of(self, pid: int) -> float | None:
        try:
            used, now = sum(psutil.Process(pid).cpu_times()[:2]), time.monotonic()
        except psutil.Error:
            return None
        before, self._cpu[pid] = self._cpu.get(pid), _Count(used, now)
        return None if before is None else 100 * max(0.0, used - before.value) / max(now - before.at, 1e-6)

    def _see_requests(self) -> None:
        if time.monotonic() - self._metrics_at < METRICS_EVERY_S:
            return
        self._metrics_at = time.monotonic()
        try:
            found = metric_text.ours(metric_text.fetch(self._instance.ports["metrics_export"]), HISTOGRAMS)
        except OSError:  # it comes up after the rest
            return
        counted = [series.value or 0.0 for series in found if series.name == metric_table.REQUESTS.name]
        self._requests.see(sum(counted), self._metrics_at)
