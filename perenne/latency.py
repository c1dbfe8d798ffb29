"""How long things took within a sliding window, in bounded memory whatever their number."""

from bisect import bisect_left
from collections import Counter, deque

_FIRST_S, _STEP, _COUNT = 0.001, 1.2, 72
BOUNDS_S = tuple(_FIRST_S * _STEP**n for n in range(_COUNT))  # 1 ms to 420 s; a quantile is at most a fifth too high
_SLOTS = 30  # a window moves on by this part of its length


class Latencies:
    """`now` is of a clock that is never set."""

    def __init__(self, window_s: float) -> None:
        self._window_s, self._slot_s = window_s, window_s / _SLOTS
        self._slots: deque[tuple[int, Counter[int]]] = deque()

    def add(self, seconds: float, now: float) -> None:
        """Something ended that took this long."""
        slot = int(now // self._slot_s)
        if not self._slots or self._slots[-1][0] != slot:
            self._forget(now)
            self._slots.append((slot, Counter()))
        self._slots[-1][1][bisect_left(BOUNDS_S, seconds)] += 1

    def count(self, now: float) -> int:
        """How many ended within the window."""
        self._forget(now)
        return sum(counts.total() for _, counts in self._slots)

    def quantile(self, share: float, now: float) -> float:
        """Seconds within which this share of them ended, by nearest rank; 0 when there are none."""
        self._forget(now)
        whole: Counter[int] = Counter()
        for _, counts in self._slots:
            whole.update(counts)
        rank = share * whole.total()
        for place in sorted(whole):
            rank -= whole[place]
            if rank <= 1e-9:  # a share of a whole number is seldom a whole number of floating point
                return BOUNDS_S[min(place, _COUNT - 1)]
        return 0.0

    def _forget(self, now: float) -> None:
        while self._slots and self._slots[0][0] <= (now - self._window_s) // self._slot_s:
            self._slots.popleft()
