"""Several that see a part of the same each, such as the replicas of the edge: what they tell becomes one."""

from collections import defaultdict
from dataclasses import replace

from perenne.messages.alerts import Signal

FRESH_S = 60.0  # a source that was not heard for so long is no more
SOURCES_MAX = 100  # of one signal; more are passed over


class Witnesses:
    """`now` is of a clock that is never set."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], dict[str, tuple[float, Signal]]] = defaultdict(dict)

    def merged(self, source: str, signals: tuple[Signal, ...], now: float) -> tuple[Signal, ...]:
        """Each signal as all sources together have it: added, or the highest. What only one tells, and what has no source, stays as it is."""
        return tuple(self._merge(source, signal, now) if source else signal for signal in signals)

    def _merge(self, source: str, signal: Signal, now: float) -> Signal:
        self._forget(now)
        told = self._told[signal.name, signal.subject]
        if source in told or len(told) < SOURCES_MAX:
            told[source] = (now, signal)
        fresh = [each for _, each in told.values()]
        highest = max(fresh, key=lambda each: each.value, default=signal)
        return replace(highest, value=sum(each.value for each in fresh)) if signal.adds else highest

    def _forget(self, now: float) -> None:
        for key, told in list(self._told.items()):
            for source, (heard, _) in list(told.items()):
                if now - heard > FRESH_S:
                    del told[source]
            if not told:
                del self._told[key]
