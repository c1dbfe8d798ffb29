"""Time as an argument, so that decisions about it can be tested."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves when told to; for tests."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = self._passed = start

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._passed

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._now += seconds
        self._passed += seconds

    def set(self, seconds: float) -> None:
        """Somebody sets it ahead, or back; no time passes."""
        self._now += seconds
