"""Passwords of files whose jobs are open: in this process's memory and nowhere else, so a restart forgets them."""

import threading
import time
from collections import OrderedDict

KEPT_MAX = 1_000
KEPT_S = 86_400.0  # a job that is not done by then asks again


class Passwords:
    """Any thread may call. Over `KEPT_MAX` the oldest is forgotten: its job then says that it needs a password."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Passwords({len(self._held)} held)"

    def keep(self, job_id: str, password: str) -> None:
        """Until the job ends; the newest word for a job counts."""
        with self._lock:
            self._held.pop(job_id, None)
            self._held[job_id] = (password, time.monotonic() + KEPT_S)
            now = time.monotonic()
            while len(self._held) > KEPT_MAX or next(iter(self._held.values()))[1] < now:
                self._held.popitem(last=False)

    def of(self, job_id: str) -> str | None:
        """The job's password, if one came and was not forgotten."""
        with self._lock:
            password, until = self._held.get(job_id, ("", 0.0))
            return password if until > time.monotonic() else None

    def forget(self, job_id: str) -> None:
        """Harmless twice."""
        with self._lock:
            self._held.pop(job_id, None)
