"""What one replica sees of its own answers, as signals for the AlertCenter: how long they take, and how many callers were refused."""

import time
from collections import Counter, deque

from perenne.latency import Latencies
from perenne.messages.alerts import Signal

WINDOW_S = 300.0  # over which answers are looked at
REQUESTS_MIN = 100  # fewer say nothing about the slowest of a hundred
REFUSED_WINDOW_S = 60.0
_REFUSED = (401, 403)
_NO_ANSWER = (*_REFUSED, 429)  # turned away before any work
# How long these take is a model's matter, or that of the caller who sends or reads.
UNTIMED = frozenset((
    "GET /api/models",
    "POST /api/models/language/warm",
    "POST /api/search",
    "POST /api/projects/{project}/documents",
    "POST /api/projects/{project}/jsonl",
    "PATCH /api/projects/{project}/uploads/{upload_id}",
    "POST /api/projects/{project}/uploads/{upload_id}",
    "GET /api/documents/{document_id}/file",
    "GET /v1/models",
    "GET /v1/models/{model:path}",
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /v1/responses",
    "POST /v1/files",
    "GET /v1/files/{file_id}/content",
    "POST /v1/vector_stores/{store_id}/search",
))  # fmt: skip


class Vitals:
    """Told of each answer by the door; told on by `perenne.reporting`. Lives on one event loop."""

    def __init__(self) -> None:
        self._latencies = Latencies(WINDOW_S)
        self._refused: deque[tuple[int, Counter[tuple[str, int]]]] = deque()  # by second
        self._told_refused = False

    def answered(self, method: str, route: str, status: int, seconds: float, now: float) -> None:
        """An answer began. `route` as the table of routes has it; `now` of a clock that is never set."""
        if status in _REFUSED:
            self.refused(f"{method} {route}", status, now)
        timed = route.startswith(("/api/", "/v1/")) and f"{method} {route}" not in UNTIMED
        if timed and status not in _NO_ANSWER:
            self._latencies.add(seconds, now)

    def refused(self, what: str, status: int, now: float) -> None:
        """Somebody came without a key that holds, or with one that may not do this."""
        second = int(now)
        if not self._refused or self._refused[-1][0] != second:
            self._forget(now)
            self._refused.append((second, Counter()))
        self._refused[-1][1][what, status] += 1

    def _forget(self, now: float) -> None:
        while self._refused and self._refused[0][0] <= now - REFUSED_WINDOW_S:
            self._refused.popleft()

    def signals(self, now: float | None = None) -> tuple[Signal, ...]:
        """What there is to tell; nothing of a replica that nobody asks anything."""
        now = time.monotonic() if now is None else now
        found: list[Signal] = []
        if (count := self._latencies.count(now)) >= REQUESTS_MIN:
            p99_ms = self._latencies.quantile(0.99, now) * 1000
            found.append(
                Signal(name="api.p99_ms", value=p99_ms, detail=f"Of {count:,} requests within {WINDOW_S / 60:.0f} minutes.")
            )
        self._forget(now)
        whole: Counter[tuple[str, int]] = Counter()
        for _, counts in self._refused:
            whole.update(counts)
        if whole or self._told_refused:
            detail = ""
            if whole:
                (what, status), _ = whole.most_common(1)[0]
                detail = f"Most of them asked for {what} and got {status}."
            found.append(Signal(name="keys.refused", value=float(whole.total()), detail=detail, adds=True))
        self._told_refused = bool(whole)
        return tuple(found)
