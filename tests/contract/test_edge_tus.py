"""Uploads that resume, as tus 1.0 has them: by the letter of the protocol, and by the stock Python client."""

import asyncio
import base64
import hashlib
import io
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tusclient.client import TusClient

from perenne import names
from perenne.testing import eventually
from tests.contract.edge_house import House, house_in, secret

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
DATA = random.Random(7).randbytes((5 << 20) + 333)
SHA = hashlib.sha256(DATA).hexdigest()
UPLOADS = "/api/projects/default/uploads"


def metadata(**fields: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items())


async def begin(http: httpx.AsyncClient, length: int = len(DATA), where: str = UPLOADS, **fields: str) -> str:
    told = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata(filename="a.bin", **fields)}
    answer = await http.post(where, headers=told)
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["upload-expires"].endswith(" GMT")
    return answer.headers["location"]


async def send(http: httpx.AsyncClient, url: str, offset: int, data: Any, **headers: str) -> httpx.Response:
    return await http.patch(url, content=data, headers={**BYTES, "Upload-Offset": str(offset), **headers})


async def offset_of(http: httpx.AsyncClient, url: str) -> int:
    answer = await http.head(url, headers=TUS)
    assert answer.status_code == 204
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


async def documents(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await http.get("/api/documents")).json()["items"]


def on_disk(house: House) -> list[str]:
    return sorted(path.suffix for path in Path(house.settings.home, "blobs", "resumable").iterdir())


async def test_a_file_in_pieces_becomes_one_document_and_job_however_often_it_is_asked_for(house: House) -> None:
    async with house.http() as http:
        url = await begin(http, title="Letters", external_id="x-1", filetype="text/plain", sha256=SHA)
        assert (await http.get(UPLOADS)).json()["items"][0]["filename"] == "a.bin"
        for start, end in ((0, 1_000), (1_000, 3 << 20), (3 << 20, len(DATA))):
            assert await offset_of(http, url) == start
            assert await documents(http) == []
            answer = await send(http, url, start, DATA[start:end])
            assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(end)), answer.text
        again = [await send(http, url, len(DATA), b""), await http.head(url, headers=TUS), await http.get(url)]
        assert [answer.status_code for answer in again] == [204, 204, 200]
        added = again[-1].json()["added"]
        (document,) = await documents(http)
        assert document["id"] == added["document"]["id"]
        assert (document["title"], document["external_id"], document["filename"]) == ("Letters", "x-1", "a.bin")
        assert (document["media_type"], document["size_bytes"]) == ("text/plain", len(DATA))
        assert [job["id"] for job in (await http.get("/api/jobs")).json()["items"]] == [added["job"]["id"]]
        assert (await http.get(f"/api/documents/{document['id']}/file")).content == DATA
        assert (await http.get(UPLOADS)).json()["items"] == []
        assert (await http.delete(url, headers=TUS)).status_code == 204
        assert len(await documents(http)) == 1
        assert on_disk(house) == []


async def test_it_is_the_same_document_as_an_upload_at_once(house: House) -> None:
    async with house.http() as http:
        url = await begin(http)
        await send(http, url, 0, DATA)
        sent = {"file": ("a.bin", DATA, "application/octet-stream")}
        at_once = (await http.post("/api/projects/default/documents", files=sent)).json()
        assert at_once["existing"] is True
        assert at_once["document"]["id"] == (await http.get(url)).json()["added"]["document"]["id"]


async def test_a_document_that_no_one_was_told_of_is_made_when_the_offset_is_asked_for(house: House) -> None:
    """The replica died between the last byte and the document: a client that asks for the offset would take it as done."""
    async with house.http() as http:
        url = await begin(http)
        await send(http, url, 0, DATA[:-1])
        owner, told = names.blob_store("pc1"), {"upload_id": url.rpartition("/")[2], "claim": "clm_dead"}
        await house.directory.call(owner, "claim_upload", timeout_s=5, offset=len(DATA) - 1, **told)
        await house.directory.call(owner, "write_upload", timeout_s=5, offset=len(DATA) - 1, data=DATA[-1:], **told)
        await house.directory.call(owner, "advance_upload", timeout_s=5, offset=len(DATA), **told)
        assert await documents(http) == []
        assert await offset_of(http, url) == len(DATA)
        assert [document["size_bytes"] for document in await documents(http)] == [len(DATA)]


async def test_what_came_before_the_connection_broke_counts(house: House) -> None:
    async with house.http() as http:
        url = await begin(http)
        host, port = house.address.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"PATCH {url} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret('owner')}\r\nTus-Resumable: 1.0.0\r\n"
        head += f"Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {len(DATA)}\r\n\r\n"
        writer.write(head.encode() + DATA[: 2 << 20])
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

        async def counted() -> bool:
            return await offset_of(http, url) == 2 << 20

        await eventually(counted, within_s=5)
        assert (await send(http, url, 2 << 20, DATA[2 << 20 :])).status_code == 204
        assert (await documents(http))[0]["blob_hash"] == SHA


async def test_a_file_is_never_whole_in_memory_and_is_put_on_disk_as_it_comes(house: House) -> None:
    async with house.http() as http:
        url, seen = await begin(http), list[int]()

        async def slowly() -> AsyncIterator[bytes]:
            for at in range(0, len(DATA), 1 << 20):
                yield DATA[at : at + (1 << 20)]
                await asyncio.sleep(0.1)
                seen.append(await offset_of(http, url))

        assert (await send(http, url, 0, slowly())).status_code == 204
        assert 4 << 20 in seen, seen


async def test_what_does_not_fit_is_refused_by_the_protocols_own_statuses(house: House) -> None:
    async with house.http() as http:
        url = await begin(http, 10)
        assert (await send(http, url, 0, b"12345")).status_code == 204
        refused = {
            409: await send(http, url, 4, b"5"),
            413: await send(http, url, 5, b"678901"),
            412: await http.patch(url, content=b"6", headers={**BYTES, "Tus-Resumable": "0.2.2", "Upload-Offset": "5"}),
            415: await http.patch(url, content=b"6", headers={**TUS, "Upload-Offset": "5", "Content-Type": "text/plain"}),
            400: await http.patch(url, content=b"6", headers={**BYTES, "Upload-Offset": "-5"}),
            404: await send(http, url[:-1] + ("0" if url[-1] != "0" else "1"), 0, b"x"),
        }
        assert {status: answer.status_code for status, answer in refused.items()} == {status: status for status in refused}
        assert all(
            answer.headers["tus-resumable"] == "1.0.0" and answer.json()["error"]["message"] for answer in refused.values()
        )
        assert refused[412].headers["tus-version"] == "1.0.0"

        async def more() -> AsyncIterator[bytes]:  # without a length
            yield b"678901"

        assert (await send(http, url, 5, more())).status_code == 413
        assert await offset_of(http, url) == 5
        for headers, status in (
            ({}, 400), ({"Upload-Length": "x"}, 400), ({"Upload-Defer-Length": "1"}, 400), ({"Upload-Length": str(1 << 40)}, 413),
            ({"Upload-Length": "1", "Upload-Metadata": "filename !!!"}, 400),
            ({"Upload-Length": "1", "Upload-Metadata": metadata(sha256="x")}, 400),
            ({"Upload-Length": "1", "Upload-Metadata": metadata(password="x")}, 400),
        ):  # fmt: skip
            answer = await http.post(UPLOADS, headers={**TUS, **headers})
            assert answer.status_code == status, (headers, answer.text)


async def test_a_checksum_keeps_all_of_a_request_or_nothing(house: House) -> None:
    def sums(name: str, data: bytes) -> dict[str, str]:
        return {"Upload-Checksum": f"{name} {base64.b64encode(hashlib.new(name, data).digest()).decode()}"}

    async with house.http() as http:
        url = await begin(http)
        wrong = await send(http, url, 0, DATA, **sums("sha1", DATA[1:]))
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (460, "checksum_mismatch")
        assert await offset_of(http, url) == 0
        assert (await send(http, url, 0, DATA[:9], **{"Upload-Checksum": "crc32 AAAA"})).status_code == 400
        assert (await send(http, url, 0, DATA[:9], **sums("sha256", DATA[:9]))).status_code == 204
        assert (await send(http, url, 9, DATA[9:], **sums("md5", DATA[9:]))).status_code == 204
        assert len(await documents(http)) == 1


async def test_a_whole_file_of_another_hash_is_no_document(house: House) -> None:
    async with house.http() as http:
        url = await begin(http, sha256=hashlib.sha256(b"other").hexdigest())
        assert (await send(http, url, 0, DATA)).status_code == 460
        assert (await http.head(url, headers=TUS)).status_code == 404
        assert await documents(http) == []
        assert on_disk(house) == []


async def test_an_upload_is_not_there_for_others(house: House) -> None:
    async with house.http() as http, house.http("other") as other, house.http("bound") as bound, house.http("reader") as reader:
        elsewhere = (await http.post("/api/projects", json={"name": "elsewhere"})).json()["id"]
        url, far = await begin(http), await begin(http, where=f"/api/projects/{elsewhere}/uploads")
        mixed = url.replace(house.projects["owner"], elsewhere)
        theirs = url.replace(house.projects["owner"], house.projects["other"])
        for who, where in ((other, url), (other, theirs), (bound, far), (http, mixed)):
            answers = [
                await who.head(where, headers=TUS), await who.get(where), await send(who, where, 0, b"x"),
                await who.delete(where, headers=TUS),
            ]  # fmt: skip
            assert {answer.status_code for answer in answers} == {404}, where
        assert (await other.get(UPLOADS)).json()["items"] == []
        assert (await send(reader, url, 0, b"x")).status_code == 403
        assert (await reader.post(UPLOADS, headers={**TUS, "Upload-Length": "1"})).status_code == 403
        assert await offset_of(bound, url) == await offset_of(http, far) == 0


async def test_an_upload_that_waits_too_long_is_gone_and_so_many_are_allowed(tmp_path: Path) -> None:
    async with house_in(tmp_path, upload_kept_s=0.5, uploads_max=2, uploads_bytes_max=1000) as house, house.http() as http:
        urls = [await begin(http, 500) for _ in range(2)]
        many = await http.post(UPLOADS, headers={**TUS, "Upload-Length": "0"})
        assert (many.status_code, many.json()["error"]["code"]) == (413, "quota_exceeded")
        assert "drop one" in many.json()["error"]["message"]
        await http.delete(urls.pop(), headers=TUS)
        assert (await http.post(UPLOADS, headers={**TUS, "Upload-Length": "501"})).status_code == 413
        await begin(http, 500)
        await asyncio.sleep(0.6)
        assert (await http.head(urls[0], headers=TUS)).status_code == 404
        await begin(http, 500)
        await house.directory.call(names.blob_store("pc1"), "sweep", timeout_s=5)
        assert len(on_disk(house)) == 3


async def test_the_same_idempotency_key_finds_the_upload_and_no_other(house: House) -> None:
    async with house.http() as http:
        told = {**TUS, "Upload-Length": "10", "Upload-Metadata": metadata(filename="a"), "Idempotency-Key": "k-1"}
        first = await http.post(UPLOADS, headers=told)
        await send(http, first.headers["location"], 0, b"123")
        again = await http.post(UPLOADS, headers=told)
        assert (again.headers["location"], again.headers["upload-offset"]) == (first.headers["location"], "3")
        assert (await http.post(UPLOADS, headers={**told, "Upload-Length": "11"})).status_code == 409


async def test_an_empty_file_a_client_that_can_only_post_and_what_is_spoken_here(house: House) -> None:
    async with house.http() as http:
        await begin_empty(http)
        assert [document["size_bytes"] for document in await documents(http)] == [0]
        url = await begin(http, 3)
        over = {**BYTES, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
        assert (await http.post(url, content=b"123", headers=over)).status_code == 204
        told = await http.options(UPLOADS)
        assert told.headers["tus-extension"] == "creation,termination,expiration,checksum"
        assert told.headers["tus-max-size"] == str(house.settings.edge.upload_bytes_max)


async def begin_empty(http: httpx.AsyncClient) -> None:
    answer = await http.post(UPLOADS, headers={**TUS, "Upload-Length": "0", "Upload-Metadata": metadata(filename="none.txt")})
    assert answer.status_code == 201
    assert answer.json()["added"]["document"]["filename"] == "none.txt"


async def test_a_password_reaches_the_reader_of_the_file_and_no_disk(house: House) -> None:
    async with house.http() as http:
        url = await begin(http)
        given = {"Perenne-Password": base64.b64encode("secreto-ñ".encode()).decode()}
        assert (await send(http, url, 0, DATA, **given)).status_code == 204
        assert list(house.ingest.passwords.values()) == ["secreto-ñ"]
        job = (await http.get(url)).json()["added"]["job"]["id"]
        assert list(house.ingest.passwords) == [job]


async def test_the_stock_client_sends_and_goes_on_where_another_stopped(house: House, tmp_path: Path) -> None:
    path = tmp_path / "b.bin"
    path.write_bytes(DATA)
    client = TusClient(house.address + UPLOADS, headers={"Authorization": f"Bearer {secret('owner')}"})

    def first() -> str:
        uploader = client.uploader(str(path), chunk_size=1 << 20, metadata={"filename": "b.bin"}, upload_checksum=True)
        for _ in range(2):
            uploader.upload_chunk()
        return uploader.url

    def second(url: str) -> int:
        uploader = client.uploader(file_stream=io.BytesIO(DATA), url=url, chunk_size=2 << 20)
        began = uploader.offset
        uploader.upload()
        return began

    url = await asyncio.to_thread(first)
    assert await asyncio.to_thread(second, url) == 2 << 20
    async with house.http() as http:
        assert [(d["filename"], d["blob_hash"]) for d in await documents(http)] == [("b.bin", SHA)]


@pytest.mark.parametrize("other", [0, 1])
async def test_of_two_requests_for_one_upload_the_later_one_has_it(house: House, other: int) -> None:
    """An old connection still hangs in a proxy while the client is back with a new one."""
    async with house.http() as http:
        url, held = await begin(http), asyncio.Event()

        async def hanging() -> AsyncIterator[bytes]:
            yield DATA[: 1 << 20]
            await held.wait()
            yield DATA[1 << 20 :]

        old = asyncio.create_task(send(http, url, 0, hanging()))
        await asyncio.sleep(0.3)
        assert (await send(http, url, 0, DATA[: (1 << 20) + other])).status_code == 204
        held.set()
        assert (await old).status_code == 409
        assert await offset_of(http, url) == (1 << 20) + other
        assert (await send(http, url, (1 << 20) + other, DATA[(1 << 20) + other :])).status_code == 204
        assert (await documents(http))[0]["blob_hash"] == SHA
