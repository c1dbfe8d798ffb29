"""A large file through our own clients and the command: in pieces, gone on with after whatever broke."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import perenne
from perenne import names
from perenne.errors import QuotaExceeded
from perenne.http_api import HttpPerenne
from perenne.http_errors import error_of
from perenne.testing import eventually
from tests.contract.edge_house import House, house_in, secret
from tests.contract.house_thread import HouseThread, house_thread

DATA = random.Random(3).randbytes((34 << 20) + 5)
OWNER = names.blob_store("pc1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(DATA)
    return path


class HangsAfterWriting:
    """The owner of files, until it has written bytes from this offset on: then it hangs until it is revived, and with it whoever sends."""

    def __init__(self, house: House, offset: int) -> None:
        self._house, self._offset, self._owner = house, offset, house.directory._owner(OWNER)
        house.directory.put(OWNER, self)

    def __getattr__(self, method: str) -> Any:
        return getattr(self._owner, method)

    async def write_upload(self, **given: Any) -> None:
        await self._owner.write_upload(**given)
        if given["offset"] >= self._offset:
            self._house.directory.put(OWNER, self._owner)
            self._house.directory.hang(OWNER)


def offsets(house: House) -> list[int]:
    """From where on bytes were written, in the order that they came."""
    return [asked["offset"] for name, method, asked in house.directory.calls if (name, method) == (OWNER, "write_upload")]


async def test_a_large_file_goes_in_pieces_and_is_the_document_that_is_returned(house: House, path: Path) -> None:
    told: list[tuple[int, int]] = []
    async with HttpPerenne(house.address, secret("owner")) as client:
        added = await client.add(
            path, "default", title="Large", external_id="x", password="p", on_progress=lambda *now: told.append(now)
        )
        assert added.document == await client.document(added.document.id)
    assert (added.document.title, added.document.external_id, added.document.size_bytes) == ("Large", "x", len(DATA))
    assert added.job is not None
    assert house.ingest.passwords == {added.job.id: "p"}
    assert told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)
    claims = [method for name, method, _ in house.directory.calls if (name, method) == (OWNER, "claim_upload")]
    assert len(claims) == 3


async def test_it_waits_for_a_store_of_files_that_restarts(house: House, path: Path) -> None:
    async with HttpPerenne(house.address, secret("owner"), deadline_s=0.5) as client:

        def away(done: int, total: int) -> None:
            if done >= 20 << 20 and len(again) == 0:
                house.directory.kill(OWNER)
                again.append(asyncio.get_running_loop().call_later(1.0, house.directory.revive, OWNER))

        again: list[Any] = []
        added = await client.add(path, "default", on_progress=away)
        assert added.document.size_bytes == len(DATA)
        assert len(again) == 1


async def test_an_upload_that_vanished_begins_anew(house: House, path: Path) -> None:
    """It was dropped on another machine, or the client slept for a day."""
    async with HttpPerenne(house.address, secret("owner")) as client, house.http() as http:
        dropped: list[Any] = []

        def drop(done: int, total: int) -> None:
            if done >= 17 << 20 and not dropped:
                dropped.append(asyncio.get_running_loop().create_task(drop_all()))

        async def drop_all() -> None:
            for held in (await http.get("/api/projects/default/uploads")).json()["items"]:
                url = f"/api/projects/default/uploads/{held['id']}"
                (await http.delete(url, headers={"Tus-Resumable": "1.0.0"})).raise_for_status()

        added = await client.add(path, "default", on_progress=drop)
        assert added.document.size_bytes == len(DATA)
    assert offsets(house).count(0) == 2


async def test_a_file_that_shrinks_while_it_is_sent_is_said(house: House, path: Path) -> None:
    def shrink(done: int, total: int) -> None:
        os.truncate(path, 1 << 20)

    async with HttpPerenne(house.address, secret("owner")) as client:
        with pytest.raises(perenne.errors.InvalidRequest, match="became shorter"):
            await client.add(path, "default", on_progress=shrink)


async def test_too_many_unfinished_uploads_are_an_error_with_a_code(tmp_path: Path, path: Path) -> None:
    async with house_in(tmp_path, uploads_bytes_max=100) as house, HttpPerenne(house.address, secret("owner")) as client:
        with pytest.raises(perenne.errors.InvalidRequest, match="drop one") as refused:
            await client.add(path, "default")
        assert refused.value.code == QuotaExceeded.code


def test_a_refusal_without_words_is_what_its_status_says() -> None:
    request = httpx.Request("HEAD", "http://127.0.0.1/api/projects/default/uploads/upl_1")
    assert isinstance(error_of(httpx.Response(404, request=request)), perenne.errors.NotFound)


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[HouseThread]:
    with house_thread(tmp_path / "home") as house:
        yield house


def test_the_client_that_waits_goes_on_where_another_was_cut(beside: HouseThread, path: Path) -> None:
    class Enough(Exception):
        """Whoever sent this had enough."""

    def cut(done: int, total: int) -> None:
        if done > 25 << 20:
            raise Enough

    with perenne.connect_sync(beside.address, key=secret("owner")) as client:
        with pytest.raises(Enough):
            client.add(path, "default", on_progress=cut)
        beside.run(eventually(lambda: max(offsets(beside.house)) >= 16 << 20))
        beside.run(eventually(beside.house.at_rest))  # what was under way has arrived
        before = len(offsets(beside.house))
        assert client.add(path, "default").document.size_bytes == len(DATA)
        assert min(offsets(beside.house)[before:]) >= 16 << 20


def test_the_command_goes_on_where_ctrl_c_stopped_it(beside: HouseThread, path: Path) -> None:
    HangsAfterWriting(beside.house, 20 << 20)
    environment = {**os.environ, "PERENNE_ADDRESS": beside.address, "PERENNE_KEY": secret("owner"), "NO_PROXY": "*"}
    command = [sys.executable, "-c", "from perenne.cli import main; main()", "add", str(path), "--json"]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    beside.run(eventually(lambda: max(offsets(beside.house), default=0) >= 20 << 20, within_s=30))
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 130, said
    assert "the same command goes" in said
    beside.house.directory.revive(OWNER)
    beside.run(eventually(beside.house.at_rest, within_s=20))  # what was under way has arrived
    with httpx.Client(base_url=beside.address, headers={"Authorization": f"Bearer {secret('owner')}"}, trust_env=False) as http:
        (held,) = http.get("/api/projects/default/uploads").json()["items"]
        assert 20 << 20 <= held["offset"] < len(DATA)
        before = len(offsets(beside.house))
        second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 0, second.stderr
        assert min(offsets(beside.house)[before:]) == held["offset"]
        assert [document["size_bytes"] for document in http.get("/api/documents").json()["items"]] == [len(DATA)]
