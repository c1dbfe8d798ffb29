"""`python -m benchmarks.floods`: what a caller with a key waits for GET /api/projects while others flood a tiny instance.

One line a flood: median and 99th percentile, how many answers were not 200, and what became of the flood's own requests."""

import argparse
import contextlib
import os
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event

from tests.live.running import RunningInstance

BEGUN_S = 4.0  # until processes that flood have started
PAUSE_S = 0.01  # between two questions of the caller whose time is measured
Flood = Callable[["Attack"], None]


class Attack:
    """Floods one port from one process until told to stop."""

    def __init__(self, port: int, over: Event) -> None:
        self.over, self.told = over, Counter[str]()
        self._port = port

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=10)

    def send(self, request: bytes) -> None:
        """One connection, one request, its status counted."""
        head = b""
        with contextlib.suppress(OSError), self.connected() as made:
            made.sendall(request)
            head = made.recv(64)
        self.told[head[9:12].decode() or "ended"] += 1


def _repeat(request: bytes) -> Flood:
    def flood(attack: Attack) -> None:
        while not attack.over.is_set():
            attack.send(request)

    return flood


def _slow(attack: Attack) -> None:
    """A hundred connections a process, a letter a second each."""
    held: list[socket.socket] = []
    while not attack.over.is_set():
        with contextlib.suppress(OSError):
            while len(held) < 100:
                held.append(attack.connected())
                held[-1].sendall(b"GET /api/me HTTP/1.1\r\nX: ")
        for made in list(held):
            try:
                made.sendall(b"x")
            except OSError:
                held.remove(made)
                attack.told["ended"] += 1
        attack.over.wait(1.0)
    for made in held:
        made.close()


_HEAD = b"GET /api/me HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
FLOODS: dict[str, Flood | None] = {
    "nobody": None,
    "60 KB of headers": _repeat(_HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 100) for n in range(600)) + b"\r\n"),
    "wrong keys": _repeat(_HEAD + b"Authorization: Bearer pk_wrong\r\n\r\n"),
    "JSON 200,000 deep, no key": _repeat(
        b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000
    ),
    "slow headers": _slow,
}


def measured(running: RunningInstance, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of each answer, and how many were none."""
    took: list[float] = []
    bad = 0
    with running.client() as http:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter()
            bad += http.get("/api/projects").status_code != 200
            took.append(1000 * (time.perf_counter() - began))
            time.sleep(PAUSE_S)
    return took, bad


def _attacks(name: str, port: int, over: Event, told: "SimpleQueue[Counter[str]]") -> None:
    """One process that floods. Its share of the two cores is no fault of the server's: it yields."""
    os.nice(10)
    flood, attack = FLOODS[name], Attack(port, over)
    assert flood is not None
    flood(attack)
    told.put(attack.told)


@contextlib.contextmanager
def under(name: str, port: int, attackers: int, told: Counter[str]) -> Iterator[None]:
    """While so many processes flood; `told` is what they got."""
    context = get_context("spawn")
    over, words = context.Event(), context.SimpleQueue()
    attacking = [context.Process(target=_attacks, args=(name, port, over, words)) for _ in range(attackers)]
    for process in attacking:
        process.start()
    time.sleep(BEGUN_S if attacking else 0)
    try:
        yield
    finally:
        over.set()
        for _ in attacking:
            told.update(words.get())
        for process in attacking:
            process.join(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--attackers", type=int, default=4)
    asked = parser.parse_args()
    running = RunningInstance()
    try:
        running.start()
        measured(running, 2.0)  # warm
        print("| flood | p50 ms | p99 ms | answers | not 200 | what the flood got |\n|---|---|---|---|---|---|")
        for name, flood in FLOODS.items():
            got: Counter[str] = Counter()
            with under(name, running.port, asked.attackers if flood else 0, got):
                took, bad = measured(running, asked.seconds)
            told = ", ".join(f"{count:,} × {status}" for status, count in got.most_common(4))
            p99 = statistics.quantiles(took, n=100)[98]
            print(f"| {name} | {statistics.median(took):.1f} | {p99:.1f} | {len(took)} | {bad} | {told} |", flush=True)
    finally:
        running.close()


if __name__ == "__main__":
    main()
