"""`GET /api/projects` with a key: through a running instance, beside FastAPI on bare uvicorn that knows the key and has the answer's
bytes in its hands; then what each route and each question to the database takes (`benchmarks.routes`).

`python -m benchmarks.edge` starts an instance of its own with the tiny profile and a rate limit that nothing here reaches;
`--address` and `--home` measure one that runs already (its own limit must be as high). A third side, without a goal, is the same
application on bare uvicorn over a copy of the database: the same rows and code, in one process, with neither Ray nor HAProxy."""

import argparse
import asyncio
import os
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from benchmarks.report import Figure, publish
from benchmarks.routes import measured
from benchmarks.running import free_port, instance
from benchmarks.served import served

WARM_S = 1.0
SETTLE_S = 10.0  # after a start, before anything is measured
CONCURRENT = 32
ROUNDS = 3  # by turns, so that a busy moment of the machine meets both sides
BESIDE_MS, RATE_SHARE = 0.4, 0.4  # the goals: so much longer at one client, so much of the rate
NO_WRK = "left out, for want of wrk: requests a second under it; install it with: sudo apt install wrk"
REQUESTS_PER_MINUTE = 10_000_000  # of a key, on both sides: the shipped limit would answer most of these with 429


@dataclass(frozen=True)
class Measured:
    p50_ms: float
    p99_ms: float
    per_s: float


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    """A request on a kept connection; raises unless it was answered with 200."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"expected a 200, got {head[:200]!r}")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(length)


async def _client(host: str, port: int, request: bytes, until: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        while (since := time.perf_counter()) < until:
            await _one(reader, writer, request)
            took.append(time.perf_counter() - since)
    finally:
        writer.close()


async def measure(address: str, key: str, concurrent: int, seconds: float) -> Measured:
    """Requests for `seconds` over `concurrent` kept connections, after a warm-up."""
    parts = urlsplit(address)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    request = f"GET /api/projects HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    for span in (WARM_S, seconds):
        took: list[float] = []
        since = time.perf_counter()
        await asyncio.gather(*(_client(host, port, request, since + span, took) for _ in range(concurrent)))
        elapsed = time.perf_counter() - since
    took.sort()
    return Measured(statistics.median(took) * 1e3, took[int(len(took) * 0.99)] * 1e3, len(took) / elapsed)


def middle(rounds: list[Measured]) -> Measured:
    """The median of each."""
    return Measured(
        statistics.median(one.p50_ms for one in rounds),
        statistics.median(one.p99_ms for one in rounds),
        statistics.median(one.per_s for one in rounds),
    )


def _serve_bare(home: str, port: int) -> None:
    """In a process of its own: the edge's application on uvicorn, over the real readers of a database in `home`."""
    import uvicorn

    from actors.store.actor import StoreReader
    from perenne import names
    from perenne.settings import load_settings
    from perenne.testing import FakeDirectory
    from serve.http import build_app

    settings = load_settings({**os.environ, "PERENNE_HOME": home})
    settings = settings.model_copy(
        update={"edge": settings.edge.model_copy(update={"requests_per_minute": REQUESTS_PER_MINUTE})}
    )
    directory = FakeDirectory()
    directory.put(names.store_reader(0), StoreReader(names.store_reader(0), settings, directory))
    uvicorn.run(build_app(settings, directory), port=port, log_level="error", access_log=False)


def _serve_same(body: bytes, key: str, port: int) -> None:
    """In a process of its own: one route that looks at the key and answers with these bytes."""
    import uvicorn
    from fastapi import FastAPI, Request, Response

    app, authorization = FastAPI(), f"Bearer {key}"

    @app.get("/api/projects")
    async def projects(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        return Response(body, 200 if secrets.compare_digest(given, authorization) else 401, media_type="application/json")

    uvicorn.run(app, port=port, log_level="error", access_log=False)


@contextmanager
def bare(home: Path) -> Iterator[str]:
    """The address of the application on bare uvicorn, over a copy of the home's database."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        store.mkdir()
        for name in ("perenne.db", "perenne.db-wal"):
            if (home / "store" / name).exists():
                shutil.copy(home / "store" / name, store / name)
        with served(_serve_bare, folder) as address:
            yield address


def under_wrk(wrk: str, address: str, key: str, seconds: float) -> float:
    """Requests a second over CONCURRENT connections; RuntimeError when one was not answered with 200."""
    command = [wrk, "-t1", f"-c{CONCURRENT}", f"-d{max(1, round(seconds))}s", "-H", f"Authorization: Bearer {key}"]
    said = subprocess.run([*command, f"{address}/api/projects"], check=True, capture_output=True, text=True, timeout=300).stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", said)
    if rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"expected every request under wrk to be answered with 200, got {said!r}")
    return float(rate[1])


@contextmanager
def own() -> Iterator[tuple[str, Path]]:
    """Address and home of an instance of our own."""
    with tempfile.TemporaryDirectory(prefix="ph-") as scratch:
        home, port = Path(scratch, "home"), free_port()
        home.mkdir()
        (home / "config.yaml").write_text(f"edge:\n  requests_per_minute: {REQUESTS_PER_MINUTE}\n")
        with instance(home, port, PERENNE_PROFILE="tiny"):
            time.sleep(SETTLE_S)
            yield f"http://127.0.0.1:{port}", home


def _named(concurrent: int) -> str:
    return f"GET /api/projects, {concurrent} client{'s' * (concurrent > 1)}"


def beside_same(address: str, key: str, seconds: float) -> list[Figure]:
    """Beside bare uvicorn and FastAPI with the same bytes."""
    answer = httpx.get(f"{address}/api/projects", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    answer.raise_for_status()
    with served(_serve_same, answer.content, key) as beside:
        by_turns = [asyncio.run(measure(where, key, 1, seconds)) for _ in range(ROUNDS) for where in (address, beside)]
        ours, theirs = middle(by_turns[::2]), middle(by_turns[1::2])
        note = f"{len(answer.content)} bytes; theirs: bare uvicorn and FastAPI, the key compared, the bytes there"
        goal = f"ours <= {theirs.p50_ms + BESIDE_MS:.4f}"
        figures = [
            Figure(f"{_named(1)}, p50", ours.p50_ms, theirs.p50_ms, "ms", goal, note),
            Figure(f"{_named(1)}, p99", ours.p99_ms, theirs.p99_ms, "ms"),
        ]
        wrk = shutil.which("wrk")
        if wrk is None:
            print(NO_WRK, file=sys.stderr)
            return figures
        rates = [under_wrk(wrk, where, key, seconds) for _ in range(ROUNDS) for where in (address, beside)]
        mine, its = statistics.median(rates[::2]), statistics.median(rates[1::2])
        named = f"GET /api/projects under wrk, {CONCURRENT} connections"
        return [*figures, Figure(named, mine, its, "requests/s", f"ratio >= {RATE_SHARE}")]


def beside_application(address: str, key: str, home: Path, seconds: float) -> list[Figure]:
    """Beside our own application on bare uvicorn: what HAProxy, Serve and Ray add."""
    figures: list[Figure] = []
    with bare(home) as beside:
        for concurrent in (1, CONCURRENT):
            by_turns = [
                asyncio.run(measure(where, key, concurrent, seconds)) for _ in range(ROUNDS) for where in (address, beside)
            ]
            ours, theirs = middle(by_turns[::2]), middle(by_turns[1::2])
            named = f"{_named(concurrent)}, beside our application on bare uvicorn"
            figures += [
                Figure(f"{named}, p50", ours.p50_ms, theirs.p50_ms, "ms"),
                Figure(f"{named}, p99", ours.p99_ms, theirs.p99_ms, "ms"),
                Figure(f"{named}, rate", ours.per_s, theirs.per_s, "requests/s"),
            ]
    return figures


def figures_of(address: str, home: Path, seconds: float, requests: int) -> list[Figure]:
    key = (home / "key").read_text().strip()
    figures = [*beside_same(address, key, seconds), *beside_application(address, key, home, seconds)]
    return [*figures, *asyncio.run(measured(address, key, home, requests))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", help="an instance that runs already; without it one of our own is started")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("PERENNE_HOME") or Path.home() / ".perenne"))
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--requests", type=int, default=500, help="of each route and each question to the database")
    given = parser.parse_args()
    if given.address:
        figures = figures_of(given.address, given.home, given.seconds, given.requests)
    else:
        with own() as (address, home):
            figures = figures_of(address, home, given.seconds, given.requests)
    limit = f"requests_per_minute: {REQUESTS_PER_MINUTE} on both sides"
    return 0 if publish("edge", figures, settings=limit, profile="tiny" if not given.address else None) else 1


if __name__ == "__main__":
    raise SystemExit(main())
