# ruff: noqa: E501
"""Clients that flood or dawdle, against HAProxy and the edge as they run: each is ended in bounded time and number, nobody gets a
5xx that is not documented, and the instance is ready as before."""

import contextlib
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.live.running import RunningInstance

ENDED_WITHIN_S = 120.0  # a connection that asks nothing, or asks it letter by letter
SOCKETS = 400
ALLOWED = {200, 400, 401, 403, 404, 405, 408, 413, 414, 422, 429, 431, 503}


@pytest.fixture(autouse=True)
def alive_afterwards(instance: RunningInstance) -> Iterator[None]:
    before = {name: instance.pids_of(name) for name in ("haproxy", "ray::ServeReplica:edge")}
    yield
    with instance.client() as http:
        assert http.get("/api/me").status_code == 200
        assert instance.until(lambda: http.get("/readyz").status_code == 200, 30)
    assert {name: instance.pids_of(name) for name in before} == before, "one of them died of it"


def connected(instance: RunningInstance) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", instance.port), timeout=30)
    made.settimeout(30)
    return made


def status_of(instance: RunningInstance, request: bytes) -> int | None:
    """The status that raw bytes get; None when the connection is ended without one."""
    with connected(instance) as made:
        with contextlib.suppress(OSError):
            made.sendall(request)
        with contextlib.suppress(OSError):
            head = made.recv(4096)
            return int(head.split()[1]) if head.startswith(b"HTTP/") else None
    return None


def raw(*lines: str, first: str = "GET /api/me HTTP/1.1") -> bytes:
    return "\r\n".join((first, "Host: 127.0.0.1", *lines, "", "")).encode("latin-1")


def test_floods_of_headers_are_refused(instance: RunningInstance) -> None:
    key = f"Authorization: Bearer {instance.key}"
    told: Counter[int | None] = Counter()
    for request in (
        raw(*(f"X-{n}: x" for n in range(50_000))), raw(*(f"X-{n}: x" for n in range(500))), raw("X: " + "x" * 10_000_000), raw("X: " + "x" * 100_000),
        raw("X: " + "x" * 20_000, key), raw("x" * 100_000 + ": x"), raw(first="GET /" + "x" * 1_000_000 + " HTTP/1.1"), raw(first="GET /api/me?" + "x=1&" * 20_000 + " HTTP/1.1"),
        raw(*[key] * 500), raw("Cookie: " + "a=b; " * 50_000), raw("Authorization: Bearer " + "x" * 1_000_000), raw("Authorization: Bearer " + "x" * 10_000),
        raw("Content-Length: 99999999999999999999", key, first="POST /api/search HTTP/1.1"), raw("Content-Length: -1", key, first="POST /api/search HTTP/1.1"),
        raw("Content-Length: 5", "Content-Length: 6", key, first="POST /api/search HTTP/1.1"), raw("Transfer-Encoding: chunked", "Content-Length: 5", key, first="POST /api/search HTTP/1.1") + b"0\r\n\r\n",
        raw("Transfer-Encoding: xchunked", key, first="POST /api/search HTTP/1.1"), raw("Transfer-Encoding: chunked", key, first="POST /api/search HTTP/1.1") + b"ffffffffffffffff\r\n",
        raw("Transfer-Encoding: chunked", key, first="POST /api/search HTTP/1.1") + b"zz\r\n", raw(key, first="\x00\x01\x02 / HTTP/1.1"), b"\x16\x03\x01" + b"\x00" * 500, b"\r\n" * 5000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 200, raw("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__", key),
        raw("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 99", "Sec-WebSocket-Key: x", first="GET /ws HTTP/1.1"), raw(key, first="TRACE / HTTP/1.1"),
        raw(key, first="CONNECT 127.0.0.1:22 HTTP/1.1"), raw(key, first="GET http://127.0.0.1:22/ HTTP/1.1"), raw(" folded: x", key), raw("Bad\x00Name: x", key),
        raw("Range: bytes=" + ",".join(f"{n}-" for n in range(5000)), first="GET / HTTP/1.1"), raw("Accept-Encoding: " + "gzip," * 5000, first="GET / HTTP/1.1"),
    ):  # fmt: skip
        status = status_of(instance, request)
        told[status] += 1
        assert status is None or status in ALLOWED, (status, request[:120])
    assert told[400] + told[431] + told[None] >= 5, told


def test_a_client_that_sends_letter_by_letter_is_ended(instance: RunningInstance) -> None:
    """Slow headers, slow bodies and connections that ask nothing (slowloris), all at once; others are answered meanwhile."""
    starts = (
        b"GET /api/me HT",
        raw("X: y")[:-2],
        raw("Content-Length: 1000", f"Authorization: Bearer {instance.key}", first="POST /api/search HTTP/1.1"),
        b"",
    )
    held = [connected(instance) for _ in range(40)]
    for number, made in enumerate(held):
        made.sendall(starts[number % len(starts)])
        made.setblocking(False)
    statuses: Counter[int] = Counter()
    left = dict(enumerate(held))
    began = time.monotonic()
    with instance.client() as http:
        while left and time.monotonic() - began < ENDED_WITHIN_S:
            statuses[http.get("/api/projects").status_code] += 1
            for number, made in list(left.items()):
                if _ended(made):
                    left.pop(number).close()
                else:
                    with contextlib.suppress(OSError):
                        made.send(b"x")
            time.sleep(0.5)
    for made in left.values():
        made.close()
    assert set(statuses) == {200}
    assert not left, (
        f"{len(left)} of {len(held)} were still held after {ENDED_WITHIN_S:g} s: {sorted({n % len(starts) for n in left})}"
    )


def _ended(made: socket.socket) -> bool:
    try:
        data = made.recv(4096)
    except BlockingIOError:
        return False
    except OSError:
        return True
    if data.startswith(b"HTTP/"):
        assert int(data.split()[1]) in ALLOWED
    return data == b"" or data.startswith(b"HTTP/")


def test_many_sockets_leave_room_for_others(instance: RunningInstance) -> None:
    held: list[socket.socket] = []
    statuses: Counter[int] = Counter()
    try:
        with instance.client() as http:
            for number in range(SOCKETS):
                with contextlib.suppress(OSError):
                    made = connected(instance)
                    made.sendall(raw() if number % 2 else b"GET / ")
                    held.append(made)
                if number % 20 == 0:
                    statuses[http.get("/api/projects").status_code] += 1
            answered = [http.get("/api/projects").status_code for _ in range(20)]
    finally:
        for made in held:
            made.close()
    assert len(held) >= SOCKETS * 0.9
    assert set(statuses) <= {200, 503}
    assert answered.count(200) >= 18, answered


def test_websockets_in_any_number_are_bounded_and_let_go(instance: RunningInstance) -> None:
    opening = raw(
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Authorization: Bearer {instance.key}", first="GET /ws HTTP/1.1",
    )  # fmt: skip
    held: list[socket.socket] = []
    statuses: Counter[int] = Counter()
    try:
        for _ in range(SOCKETS):
            made = connected(instance)
            made.sendall(opening)
            held.append(made)
        for made in held:
            with contextlib.suppress(OSError):
                head = made.recv(4096)
                statuses[int(head.split()[1]) if head else 0] += 1
        with instance.client() as http:
            assert http.get("/api/projects").status_code in (200, 429, 503)
    finally:
        for made in held:
            made.close()
    assert set(statuses) <= {0, 101, 429, 503}, statuses
    assert statuses[101] > 0, statuses


def test_bodies_without_a_key_are_not_read(instance: RunningInstance) -> None:
    """A hundred uploads without a key: each is refused before its body."""
    with httpx.Client(base_url=instance.address, trust_env=False, timeout=60) as http:
        for _ in range(100):
            with contextlib.suppress(httpx.WriteError, httpx.ReadError):
                answer = http.post(
                    "/api/projects/default/documents",
                    content=b"x" * 100_000,
                    headers={"Content-Type": "multipart/form-data; boundary=b"},
                )
                assert answer.status_code == 401
                assert "error" in json.loads(answer.text)


def test_tls_is_not_taken_for_http(instance: RunningInstance) -> None:
    with connected(instance) as made, pytest.raises((ssl.SSLError, OSError)):
        ssl.create_default_context().wrap_socket(made, server_hostname="127.0.0.1")
