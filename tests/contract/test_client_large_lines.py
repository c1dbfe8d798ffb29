"""A large file of JSON lines through both of our own clients: one contract. Cut half-way it goes on, and nothing is doubled."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from perenne import names
from perenne.actor_api import ActorPerenne
from perenne.api import Perenne
from perenne.errors import InvalidRequest
from perenne.http_api import HttpPerenne
from perenne.testing import eventually
from tests.contract.edge_house import House, secret

OWNER = names.blob_store("pc1")
LINES = "".join(json.dumps({"id": str(n), "text": f"line {n} " + "of many words " * 4000}) + "\n" for n in range(400))
SIZE = len(LINES.encode())
ADVANCE = 4 << 20  # what a death costs at most


class Cut(Exception):
    """The line broke, or whoever sent this was ended."""


def client_of(house: House, transport: str) -> Perenne:
    return (
        HttpPerenne(house.address, secret("owner")) if transport == "http" else ActorPerenne(house.directory, user_id="owner")
    )


@pytest.fixture(params=["http", "actors"])
async def api(house: House, request: pytest.FixtureRequest) -> AsyncIterator[Perenne]:
    async with client_of(house, request.param) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "many.jsonl"
    path.write_text(LINES)
    return path


def offsets(house: House) -> list[int]:
    """From where on bytes were written, in the order that they came."""
    return [asked["offset"] for name, method, asked in house.directory.calls if (name, method) == (OWNER, "write_upload")]


def cut(done: int, total: int) -> None:
    if done > total // 2:
        raise Cut


async def settled(house: House) -> int:
    """How much is kept of the only upload, once the requests that were under way have ended."""
    seen: list[int] = []

    async def still() -> bool:
        seen.append(len(offsets(house)))
        return len(seen) > 5 and len(set(seen[-5:])) == 1

    await eventually(still)
    (held,) = await house.directory.call(OWNER, "uploads", timeout_s=5, user_id="owner")
    return held.offset


async def test_lines_that_were_cut_half_way_go_on_and_are_one_job(house: House, path: Path, api: Perenne) -> None:
    # They went in one request: a broken line half-way through a large file cost all of it, as often as it broke.
    with pytest.raises(Cut):
        await api.add_jsonl(path, "default", on_progress=cut)
    kept, before = await settled(house), len(offsets(house))
    assert kept >= SIZE // 2 - ADVANCE
    job = await api.add_jsonl(path, "default")
    assert min(offsets(house)[before:]) == kept
    assert (job.kind, job.filename, job.state) == ("jsonl", "many.jsonl", "queued")
    assert (await api.jobs()).items == (job,)
    assert (await api.documents()).items == ()
    assert await house.directory.call(OWNER, "uploads", timeout_s=5, user_id="owner") == ()
    assert await house.directory.call(OWNER, "stat", timeout_s=5, hash=hashlib.sha256(LINES.encode()).hexdigest()) == SIZE


@pytest.mark.parametrize(("first", "second"), [("http", "actors"), ("actors", "http")])
async def test_what_one_transport_began_the_other_goes_on_with(house: House, path: Path, first: str, second: str) -> None:
    async with client_of(house, first) as one, client_of(house, second) as other:
        with pytest.raises(Cut):
            await one.add_jsonl(path, "default", on_progress=cut)
        kept, before = await settled(house), len(offsets(house))
        job = await other.add_jsonl(path, "default")
        assert min(offsets(house)[before:]) == kept
        assert [each.id for each in (await one.jobs()).items] == [job.id]


async def test_a_large_file_that_was_cut_is_one_document_over_both(house: House, path: Path, api: Perenne) -> None:
    with pytest.raises(Cut):
        await api.add(path, "default", title="Many", external_id="m", password="p", on_progress=cut)
    kept, before = await settled(house), len(offsets(house))
    added = await api.add(path, "default", title="Many", external_id="m", password="p")
    assert min(offsets(house)[before:]) == kept
    assert (added.document.title, added.document.external_id, added.document.size_bytes) == ("Many", "m", SIZE)
    assert added.job is not None
    assert house.ingest.passwords == {added.job.id: "p"}
    assert (await api.documents()).items == (added.document,)


async def test_the_lines_of_a_file_and_the_file_itself_are_not_taken_for_each_other(
    house: House, path: Path, api: Perenne
) -> None:
    with pytest.raises(Cut):
        await api.add(path, "default", on_progress=cut)
    await settled(house)
    job = await api.add_jsonl(path, "default")
    assert (job.kind, len((await api.jobs()).items)) == ("jsonl", 1)


async def test_the_store_of_files_restarts_while_they_are_sent(house: House, path: Path, api: Perenne) -> None:
    again: list[Any] = []

    def away(done: int, total: int) -> None:
        if done > total // 2 and not again:
            house.directory.kill(OWNER)
            again.append(asyncio.get_running_loop().call_later(0.5, house.directory.revive, OWNER))

    job = await api.add_jsonl(path, "default", on_progress=away)
    assert len(again) == 1
    assert (await api.jobs()).items == (job,)


async def test_a_file_that_shrinks_is_said(house: House, path: Path, api: Perenne) -> None:
    def shrink(done: int, total: int) -> None:
        with path.open("rb+") as file:
            file.truncate(1 << 20)

    with pytest.raises(InvalidRequest, match="became shorter"):
        await api.add_jsonl(path, "default", on_progress=shrink)


async def test_an_upload_is_of_a_kind_that_is_known(house: House) -> None:
    async with house.http() as http:
        for told, field in (("kind cGRm", "kind"), ("kind anNvbmw=,external_id eA==", "external_id")):
            answer = await _begin(http, told)
            assert answer.status_code == 400
            assert answer.json()["error"]["message"].startswith(field)
        begun = (await _begin(http, "kind anNvbmw=")).json()
        assert (begun["kind"], begun["added"], begun["job"]) == ("jsonl", None, None)


async def _begin(http: httpx.AsyncClient, metadata: str) -> httpx.Response:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": metadata}
    return await http.post("/api/projects/default/uploads", headers=headers)
