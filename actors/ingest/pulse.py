"""Whether work goes on: the age of the last progress, truthful for steps that take long within a bound of their own."""

import contextlib
import time
from collections.abc import Iterator


class Pulse:
    """A beat says that the loop runs; an open step says until when it may take. Overdue, the beats count no more."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._deadlines: dict[object, float] = {}

    def beat(self) -> None:
        """Something moved."""
        self._last = time.monotonic()

    @contextlib.contextmanager
    def step(self, within_s: float) -> Iterator[None]:
        """A piece of work that must end, or open another step, within this time."""
        mark = object()
        self._deadlines[mark] = time.monotonic() + within_s
        try:
            yield
        finally:
            del self._deadlines[mark]
            self.beat()

    def age_s(self) -> float:
        """Seconds since the last beat, or since the most overdue step should have ended."""
        now = time.monotonic()
        overdue = max((now - deadline for deadline in list(self._deadlines.values())), default=0.0)
        return max(now - self._last, overdue, 0.0)
