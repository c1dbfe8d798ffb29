"""Speeds as measured while working."""

import threading


class Speed:
    """Units a second, recent work counting more. Stretches shorter than `units_min` say little and are left out."""

    _NEW_SHARE = 0.4  # of a new measurement in the figure

    def __init__(self, units_min: int) -> None:
        self._units_min = units_min
        self._lock = threading.Lock()
        self.per_s: float | None = None

    def add(self, units: float, seconds: float) -> None:
        if units < self._units_min or seconds <= 0:
            return
        with self._lock:
            measured = units / seconds
            self.per_s = measured if self.per_s is None else self.per_s + self._NEW_SHARE * (measured - self.per_s)
