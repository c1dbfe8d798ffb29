# ruff: noqa: E501
"""Bodies that come letter by letter: HAProxy waits an hour for the next one, so that the edge has to say when it is enough."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import serve.door
from tests.contract.edge_house import House, house_in, secret

GRACE_S = 0.6
START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(serve.door, "BODY_GRACE_S", GRACE_S)
    async with house_in(tmp_path) as house:
        yield house


async def _sent(house: House, path: str, kind: str, pieces: list[bytes], pause_s: float, length: int) -> bytes:
    """What comes back for a body in pieces."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.address.rpartition(":")[2]))
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret('owner')}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode())
    answer = asyncio.create_task(reader.read(4096))
    try:
        for piece in pieces:
            if answer.done():
                break
            writer.write(piece)
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(answer, 20)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/api/search", "application/json"), ("/v1/chat/completions", "application/json"), ("/api/projects/default/documents", "multipart/form-data; boundary=b")],
)  # fmt: skip
async def test_a_body_that_comes_letter_by_letter_is_refused(house: House, path: str, kind: str) -> None:
    """A thousand such connections held a thousand places, each for as long as its client liked."""
    answer = await _sent(house, path, kind, [START if "multipart" in kind else b" ", *[b" "] * 1000], 0.05, 2000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"more slowly than" in answer
    assert b"connection: close" in answer.lower()


async def test_a_body_that_takes_longer_but_comes_on_is_taken(house: House) -> None:
    end = b"\r\n--b--\r\n"
    pieces = [START, *[b"words " * 1000] * 12, end]
    length = sum(map(len, pieces))
    answer = await _sent(
        house, "/api/projects/default/documents", "multipart/form-data; boundary=b", pieces, 2 * GRACE_S / 12, length
    )
    assert answer.startswith(b"HTTP/1.1 202 "), answer


async def test_an_answer_that_takes_longer_than_a_body_may_is_not_cut(house: House) -> None:
    house.runs.hold_after = 1
    async with house.http() as http:
        body = {"model": "perenne", "messages": [{"role": "user", "content": "When?"}]}
        asked = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await asyncio.sleep(3 * GRACE_S)
        house.runs.gate.set()
        assert (await asked).status_code == 200
