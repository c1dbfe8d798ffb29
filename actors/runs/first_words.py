"""How soon answers begin, as a signal for the AlertCenter."""

import time

from perenne.latency import Latencies
from perenne.messages.alerts import Signal

WINDOW_S = 600.0
ANSWERS_MIN = 5  # fewer say nothing about the slowest of ten


class FirstWords:
    """From a question's arrival until the first word of its answer. Lives on one event loop; `now` of a clock that is never set."""

    def __init__(self) -> None:
        self._latencies = Latencies(WINDOW_S)

    def add(self, seconds: float, now: float) -> None:
        self._latencies.add(seconds, now)

    def signals(self, now: float | None = None) -> tuple[Signal, ...]:
        """What there is to tell: nothing while few ask."""
        now = time.monotonic() if now is None else now
        if (count := self._latencies.count(now)) < ANSWERS_MIN:
            return ()
        value, detail = self._latencies.quantile(0.9, now), f"Of {count} answers within {WINDOW_S / 60:.0f} minutes."
        return (Signal(name="answers.first_word_s", value=value, detail=detail),)
