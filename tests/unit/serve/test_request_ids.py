"""The id of a request: the caller's or a new one, in every answer, and in one line of the log without what the caller wrote."""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from perenne import correlation, names
from perenne.settings import load_settings
from perenne.testing import FakeDirectory
from serve.http import build_app
from serve.request_ids import RequestIds, id_given

FIT = ("req_1", "0af7651916cd43dd8448eb211c80319c", "a", "5e0b1b2e-0e9d-4a4e-8f4b-2a1f", "x" * 128, "trace:1.2")
UNFIT = ("", " ", "-x", "x" * 129, "a b", "a\tb", "ñ", "a,b", 'a"b', "{}", "pk_hZ8qvX2mN4tR7wLcPz1A", "sk-12345678", "Bearer:x")


@pytest.mark.parametrize("given", FIT)
def test_a_callers_own_id_is_taken(given: str) -> None:
    assert id_given([(b"host", b"x"), (b"x-request-id", given.encode())]) == given


@pytest.mark.parametrize("given", UNFIT)
def test_what_is_none_or_looks_like_a_key_is_not(given: str) -> None:
    assert id_given([(b"x-request-id", given.encode("latin-1"))]) is None
    assert id_given([]) is None


class Reader:
    def __init__(self) -> None:
        self.seen: list[str | None] = []
        self.broken = False

    async def key_by_hash(self, *, key_hash: str) -> None:
        self.seen.append(correlation.request_id())
        if self.broken:
            raise KeyError("nobody expected it")


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def client(tmp_path: Path, reader: Reader) -> Iterator[TestClient]:
    settings = load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_PROFILE": "tiny"})
    app = build_app(settings, FakeDirectory(**{names.store_reader(0): reader}))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as held:
        yield held


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200), ("GET", "/api/projects", 401), ("GET", "/api/nowhere", 401), ("POST", "/v1/chat/completions", 401),
        ("POST", "/livez", 405), ("GET", "/no-such-page.js", 404),
    ],
)  # fmt: skip
def test_every_answer_names_its_request(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, headers={"X-Request-ID": "mine-1"})
    assert answer.headers.get_list("x-request-id") == ["mine-1"], answer.status_code
    drawn = [client.request(method, path, headers=sent).headers["x-request-id"] for sent in ({}, {"X-Request-ID": "a b"})]
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", one) for one in drawn)
    assert drawn[0] != drawn[1]
    assert answer.status_code == status


def test_an_answer_that_nobody_expected_names_its_request_too(client: TestClient, reader: Reader) -> None:
    reader.broken = True
    answer = client.get("/api/me", headers={"Authorization": "Bearer pk_y", "X-Request-ID": "mine-1"})
    assert answer.status_code == 500
    assert answer.headers.get_list("x-request-id") == ["mine-1"]


def test_a_body_that_is_refused_at_the_door_names_it_too(client: TestClient) -> None:
    answer = client.post("/api/search", content=b"x", headers={"X-Request-ID": "mine-2", "Content-Length": "999999999"})
    assert answer.status_code == 413
    assert answer.headers.get_list("x-request-id") == ["mine-2"]


def test_what_works_for_a_request_knows_it(client: TestClient, reader: Reader) -> None:
    client.get("/api/projects", headers={"Authorization": "Bearer pk_x", "X-Request-ID": "mine-3"})
    assert reader.seen == ["mine-3"]


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(one.levelno, one.getMessage()) for one in caplog.records if one.name == "serve.request_ids"]


def test_a_line_says_the_route_and_nothing_that_the_caller_wrote(
    client: TestClient, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serve")
    client.get("/api/documents/my-divorce?project=secret")
    reader.broken = True
    client.get("/api/jobs/my-divorce", headers={"Authorization": "Bearer pk_z"})
    lines = [re.sub(r"in \d+ ms", "in N ms", words) for _, words in said(caplog)]
    assert lines == ["GET /api/documents/{document_id}: 401 in N ms", "GET /api/jobs/{job_id}: 500 in N ms"]
    assert "divorce" not in "".join(one.getMessage() for one in caplog.records)


def test_a_quick_look_that_goes_well_has_its_line_only_if_it_brought_an_id(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serve")
    client.get("/livez")
    assert said(caplog) == []
    client.get("/livez", headers={"X-Request-ID": "mine"})
    assert [words.partition(" in ")[0] for _, words in said(caplog)] == ["GET /livez: 200"]


def test_under_serves_own_proxy_which_writes_the_header_it_is_not_written_twice() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(RequestIds(app, in_headers=False)(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["headers"] == []


@pytest.mark.parametrize("kind", ["websocket.accept", "websocket.http.response.start"])
def test_the_answer_to_a_websocket_names_it(kind: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": kind, "status": 403, "headers": [(b"a", b"b")]})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [(b"x-request-id", b"mine")]}
    asyncio.run(RequestIds(app)(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["headers"] == [(b"a", b"b"), (b"x-request-id", b"mine")]
