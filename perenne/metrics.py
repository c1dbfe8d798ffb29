"""What an instance tells of itself in numbers. Every process has one meter; a shell gives it its name and a maker of instruments
(`perenne.client.ray_instrument`), and until then it keeps nothing.

Telling costs under a microsecond: numbers wait in memory and are handed on every few seconds by a thread of their own, because an
instrument of Ray's takes 10 to 30 µs. A process that dies takes the numbers of its last seconds along."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

log = logging.getLogger(__name__)

HAND_ON_S = 5.0
WAITING_MAX = 50_000  # numbers that wait to be handed on; more are dropped until the next time, and that is logged

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of `perenne.metric_table`. Each value of a label comes from a set that the code knows: never an id, a name or a text of
    its owner's. `buckets`: upper bounds, of a histogram."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Instrument(Protocol):
    """Takes what one metric is told: the sum for a counter, the value for a gauge, each observation for a histogram."""

    def record(self, value: float, labels: Mapping[str, str]) -> None:
        """May take its time; called in the meter's thread only."""
        ...


Maker = Callable[[Metric], Instrument]


class Meter:
    """`tell` from any thread. Nothing here raises: a number that can't be kept is no reason to fail at what is counted."""

    def __init__(self) -> None:
        self._told: deque[tuple[Metric, float, tuple[str, ...]]] = deque()
        self._looks: list[Callable[[], None]] = []
        self._instruments: dict[str, Instrument] = {}
        self._make: Maker | None = None
        self._actor = ""
        self._lost = 0
        self._lock = threading.Lock()

    def begin(self, actor: str, make: Maker) -> None:
        """From now on what is told is handed on, under this actor's name. A second time is ignored."""
        with self._lock:
            if self._make is not None:
                return
            self._actor, self._make = actor, make
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def look(self, look: Callable[[], None]) -> None:
        """Call this before each handing on, in the meter's thread: what has a state is told then. It may take milliseconds."""
        self._looks.append(look)

    def tell(self, metric: Metric, value: float = 1.0, *labels: str) -> None:
        """Add to a counter, set a gauge, or observe. `labels` are values in the order of `metric.labels`."""
        if self._make is None:
            return
        if len(self._told) >= WAITING_MAX:
            self._lost += 1
            return
        self._told.append((metric, value, labels))

    def _run(self) -> None:
        while True:
            time.sleep(HAND_ON_S)
            self.hand_on()

    def hand_on(self) -> None:
        """Give everything that waits to the instruments."""
        for look in self._looks:
            try:
                look()
            except Exception as error:
                log.warning("a state could not be told: %s: %s", type(error).__name__, error)
        sums: dict[tuple[Metric, tuple[str, ...]], float] = {}
        for _ in range(len(self._told)):
            metric, value, labels = self._told.popleft()
            key = (metric, labels)
            if metric.kind == "histogram":
                self._record(metric, value, labels)
            elif metric.kind == "counter":
                sums[key] = sums.get(key, 0.0) + value
            else:
                sums[key] = value
        for (metric, labels), value in sums.items():
            self._record(metric, value, labels)
        lost, self._lost = self._lost, 0
        if lost:
            log.warning("%d numbers were dropped: more than %d came within %g s", lost, WAITING_MAX, HAND_ON_S)

    def _record(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        make = self._make
        if make is None or (metric.kind == "counter" and value <= 0):
            return
        try:
            instrument = self._instruments.get(metric.name)
            if instrument is None:
                instrument = self._instruments[metric.name] = make(metric)
            instrument.record(value, {"actor": self._actor, **dict(zip(metric.labels, labels, strict=True))})
        except Exception as error:
            log.warning("%s could not be told: %s: %s", metric.name, type(error).__name__, error)


METER = Meter()  # this process's
tell, look, begin = METER.tell, METER.look, METER.begin
