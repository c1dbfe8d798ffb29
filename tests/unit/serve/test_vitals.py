"""What a replica of the edge tells of itself: how slow its answers are, and how many callers it turned away."""

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from perenne.latency import Latencies
from perenne.messages.alerts import Signal
from perenne.reporting import report
from perenne.settings import load_settings
from perenne.testing import FakeDirectory, eventually
from serve.http import build_app
from serve.routes import TABLE
from serve.vitals import REFUSED_WINDOW_S, REQUESTS_MIN, UNTIMED, WINDOW_S, Vitals

GET = ("GET", "/api/projects", 200)


def value(vitals: Vitals, name: str, now: float) -> float | None:
    return next((signal.value for signal in vitals.signals(now) if signal.name == name), None)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_a_quantile_is_a_fifth_too_high_at_most(share: float) -> None:
    random.seed(7)
    spread = [random.lognormvariate(-4, 1.5) for _ in range(5_000)]
    latencies = Latencies(300.0)
    for seconds in spread:
        latencies.add(seconds, 10.0)
    exact = sorted(spread)[max(0, round(share * len(spread)) - 1)]
    assert exact <= latencies.quantile(share, 10.0) <= exact * 1.2 + 0.001


def test_what_is_older_than_the_window_does_not_count_and_memory_stays_bounded() -> None:
    latencies = Latencies(300.0)
    for n in range(100_000):
        latencies.add(5.0, n * 0.1)
    assert latencies.count(9_999.9) <= 3_000
    assert len(latencies._slots) <= 31
    assert latencies.count(9_999.9 + 300.0) == 0
    assert latencies.quantile(0.99, 20_000.0) == 0.0


def test_few_requests_say_nothing_and_many_say_how_slow_the_slowest_of_a_hundred_are() -> None:
    vitals = Vitals()
    for n in range(REQUESTS_MIN - 1):
        vitals.answered(*GET, 5.0 if n < 10 else 0.01, 1.0)
    assert vitals.signals(2.0) == ()
    vitals.answered(*GET, 0.01, 2.0)
    p99_ms = value(vitals, "api.p99_ms", 3.0)
    assert p99_ms is not None
    assert 5_000 <= p99_ms <= 6_000
    assert value(vitals, "api.p99_ms", 3.0 + WINDOW_S) is None


def test_what_waits_for_a_model_or_for_the_caller_is_not_counted_nor_what_was_turned_away() -> None:
    vitals = Vitals()
    for _ in range(REQUESTS_MIN):
        vitals.answered("POST", "/v1/chat/completions", 200, 30.0, 1.0)
        vitals.answered("GET", "page", 200, 30.0, 1.0)
        vitals.answered("GET", "/readyz", 503, 30.0, 1.0)
        vitals.answered("GET", "/api/projects", 401, 30.0, 1.0)
        vitals.answered("GET", "/api/projects", 429, 30.0, 1.0)
    assert value(vitals, "api.p99_ms", 1.0) is None


def test_every_route_that_is_not_timed_is_in_the_table() -> None:
    assert {f"{line.method} {line.path}" for line in TABLE} >= UNTIMED


def test_refusals_count_for_a_minute_and_their_end_is_told_once() -> None:
    vitals = Vitals()
    for n in range(40):
        vitals.answered("GET", "/api/projects", 401, 0.001, 10.0 + n)
    vitals.answered("DELETE", "/api/keys/{key_id}", 403, 0.001, 50.0)
    (signal,) = vitals.signals(50.0)
    assert (signal.name, signal.value, signal.adds) == ("keys.refused", 41.0, True)
    assert signal.detail == "Most of them asked for GET /api/projects and got 401."
    assert value(vitals, "keys.refused", 30.0 + REFUSED_WINDOW_S) == 20.0
    assert [(each.name, each.value) for each in vitals.signals(200.0)] == [("keys.refused", 0.0)]
    assert vitals.signals(215.0) == ()


class Center:
    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Signal, ...]]] = []

    async def observe(self, *, signals: tuple[Signal, ...], source: str) -> None:
        if not signals[0].value:
            raise ValueError("it fails in a way nobody thought of")
        self.told.append((source, signals))


async def test_a_replica_tells_on_while_the_centre_is_away_or_fails() -> None:
    center, directory = Center(), FakeDirectory()
    seen = [0.0]

    def look() -> tuple[Signal, ...]:
        seen[0] += 1
        return (Signal(name="x", value=seen[0] % 2),)

    task: asyncio.Task[Any] = asyncio.create_task(report(directory, "edge-1", look, every_s=0.001))
    await eventually(lambda: seen[0] > 3)
    assert not task.done()
    directory.put("AlertCenter", center)
    await eventually(lambda: len(center.told) > 2)
    assert not task.done()
    assert center.told[0] == ("edge-1", (Signal(name="x", value=1.0),))
    task.cancel()


async def test_who_comes_without_a_key_is_counted_over_http_and_over_a_socket(tmp_path: Path) -> None:
    app = build_app(load_settings({"PERENNE_HOME": str(tmp_path)}), FakeDirectory(), tmp_path)
    vitals: Vitals = app.state.edge.vitals
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        for _ in range(3):
            assert (await http.get("/api/projects")).status_code == 401
        assert (await http.get("/livez")).status_code == 200
    (signal,) = vitals.signals()
    assert (signal.value, signal.detail) == (3.0, "Most of them asked for GET /api/projects and got 401.")
    sent: list[Any] = []
    scope = {
        "type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "root_path": "", "subprotocols": [],
        "scheme": "ws", "headers": [(b"host", b"127.0.0.1:8000"), (b"authorization", b"Bearer ")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "extensions": {}, "state": {},
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[-1]["type"] == "websocket.close"
    assert vitals.signals()[0].value == 4.0
