"""What the edge bears: bodies that are too large or hostile, callers that are too fast or too many, parts that are away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from perenne import names
from perenne.testing import eventually
from tests.contract.edge_house import House, house_in, secret

HOSTILE = (
    b"", b" ", b"nul", b"[1,]", b'{"a":', b'{"text": "\\ud800"}', b'{"query": "\\ud800"}', b'{"name": "\\udc00"}', b"\xff\xfe",
    b'{"query": "a\xff"}', b"[" * 100_000, b'{"a":' * 50_000, b'{"query": "x", "k": NaN}', b'{"query": "x", "k": 1e999}',
    b'{"query": "x", "k": ' + b"9" * 6000 + b"}", b'{"query": null}', b'{"query": {"$gt": ""}}', b'{"query": "x", "filters": []}',
    b'{"query": "x", "k": -1}', b'{"query": "x", "extra": 1}', b'"text"', b"7", b"true", b"[]", b"{}",
)  # fmt: skip
POSTS = (
    "/api/projects",
    "/api/search",
    "/api/conversations/cnv_1/messages",
    "/api/keys",
    "/v1/chat/completions",
    "/v1/embeddings",
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as house:
        yield house


async def test_hostile_bodies_are_refused_in_the_envelope_and_never_a_500(house: House) -> None:
    async with house.http() as http:
        for path in POSTS:
            for body in HOSTILE:
                answer = await http.post(path, content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code in (400, 422), (path, body[:40], answer.status_code, answer.text[:300])
                assert answer.json()["error"]["message"]
                if path.startswith("/v1"):
                    assert answer.status_code == 400
        odd = {"model": "tiny-language", "messages": [{"role": "user", "content": "x"}], "temperature": float("nan")}
        assert (await http.post("/v1/chat/completions", content=json.dumps(odd))).status_code == 400
        assert (await http.get("/api/projects/%ff%00")).status_code in (400, 404)
        assert (await http.get("/api/documents/x/text?start=5&end=2")).status_code == 400
        assert (await http.get("/api/projects?limit=0")).status_code == 422
        assert (await http.get("/api/projects?after=nonsense")).status_code in (200, 400)


async def test_a_body_over_the_limit_is_a_413_whatever_its_length_header_says(tmp_path: Path) -> None:
    async with house_in(tmp_path, body_bytes_max=100_000, upload_bytes_max=200_000) as house:

        async def endless(size: int) -> AsyncIterator[bytes]:
            for _ in range(size // 10_000):
                yield b"x" * 10_000

        async with house.http() as http:
            declared = await http.post("/api/search", content=b"x" * 150_000)
            streamed = await http.post("/api/search", content=endless(150_000))
            openai_style = await http.post("/v1/embeddings", content=endless(150_000))
            file = await http.post("/api/projects/default/documents", files={"file": ("a.txt", b"x" * 220_000)})
            for answer in (declared, streamed, openai_style, file):
                assert answer.status_code == 413, answer.text
                assert answer.json()["error"]["code"] == "too_large"
            fits = await http.post("/api/projects/default/documents", files={"file": ("a.txt", b"x" * 199_000)})
            assert fits.status_code == 202
            assert (await http.get("/api/documents")).json()["items"][0]["size_bytes"] == 199_000


async def test_a_key_that_is_too_fast_is_told_when_to_come_again(tmp_path: Path) -> None:
    async with house_in(tmp_path, requests_per_minute=5) as house:
        async with house.http() as http, house.http("other") as other:
            answers = [await http.get("/api/me") for _ in range(8)]
            refused = [a for a in answers if a.status_code == 429]
            assert refused
            assert {a.status_code for a in answers} == {200, 429}
            assert 1 <= int(refused[0].headers["retry-after"]) <= 61
            assert refused[0].json()["error"]["code"] == "rate_limited"
            assert (await other.get("/api/me")).status_code == 200
            assert (await http.get("/livez")).status_code == 200


async def test_too_many_at_once_is_a_503_and_probes_still_answer(tmp_path: Path) -> None:
    async with house_in(tmp_path, ongoing_requests_max=2) as house:
        house.language.reply, house.language.token_s = "word " * 1000, 0.01
        body = {"model": "tiny-language", "messages": [{"role": "user", "content": "x"}]}
        async with house.http() as http:
            held = [asyncio.create_task(http.post("/v1/chat/completions", json=body)) for _ in range(2)]
            await eventually(lambda: house.language.running == 2)
            refused = await http.get("/api/me")
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert (await http.get("/livez")).status_code == 200
            for task in held:
                task.cancel()
            await eventually(lambda: house.language.running == 0)
            assert (await http.get("/api/me")).status_code == 200


async def test_a_part_that_is_away_is_a_503_and_readyz_tells_the_truth(house: House) -> None:
    async with house.http() as http, house.http(None) as nobody:
        assert (await nobody.get("/readyz")).json() == {"ready": True}
        house.directory.kill(names.RUN_HOST)
        away = await http.post("/api/search", json={"query": "x"})
        assert (away.status_code, away.json()["error"]["code"]) == (503, "unavailable")
        assert "retry-after" in away.headers
        house.tree.ready = False

        async def unready() -> bool:
            return (await nobody.get("/readyz")).status_code == 503

        await eventually(unready)
        assert (await nobody.get("/readyz")).json() == {"ready": False}
        assert (await http.get("/readyz")).json()["reasons"] == ["StoreWriter is held"]
        assert (await http.get("/livez")).status_code == 200
        house.directory.kill(names.EMBEDDING)
        phases = {m["role"]: m["phase"] for m in (await http.get("/api/models")).json()}
        assert phases == {"language": "ready", "embedding": "loading"}


async def test_readyz_answers_a_caller_with_a_key_within_a_second_or_so_while_no_key_can_be_read(house: House) -> None:
    # While the database was migrated a probe with a key waited for five seconds, longer than most probes do.
    house.tree.ready = False
    house.directory.hang(names.store_reader(0))
    async with house.http() as http:
        began = time.monotonic()
        answer = await http.get("/readyz")
        assert time.monotonic() - began < 3
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["the key could not be checked: the database did not answer within 1 s"]


async def test_a_file_comes_in_by_pieces_and_goes_out_as_it_came(house: House) -> None:
    content = bytes(range(256)) * 14_000  # 3.4 MiB
    async with house.http() as http:
        files = {"file": ("../../etc/passwd\x01.html", content, "text/html")}
        headers = {"Idempotency-Key": "up-1"}
        where = "/api/projects/default/documents"
        added = await http.post(where, files=files, data={"title": "Ünï", "password": "geheim"}, headers=headers)
        assert added.status_code == 202, added.text
        pieces = [call[2]["data"] for call in house.directory.calls if call[1] == "append"]
        assert len(pieces) == 4
        assert max(map(len, pieces)) <= names.BLOB_PIECE_BYTES
        document, job = added.json()["document"], added.json()["job"]
        assert (document["filename"], document["title"]) == ("passwd%01.html", "Ünï")
        assert "geheim" not in added.text + (await http.get("/api/jobs")).text
        assert not {"password", "lease_token", "checkpoint"} & job.keys()
        assert house.ingest.passwords == {job["id"]: "geheim"}
        written = [call for call in house.directory.calls if call[0] != names.INGEST_HOST]
        assert "geheim" not in repr(written), "a password went where it may be kept"
        again = await http.post(where, files=files, data={"title": "Ünï", "password": "geheim"}, headers=headers)
        assert again.json()["document"]["id"] == document["id"]
        await eventually(lambda: house.ingest.woken >= 1)
        file = await http.get(f"/api/documents/{document['id']}/file")
        assert file.content == content
        assert file.headers["content-type"] == "application/octet-stream"
        assert file.headers["content-disposition"].startswith("attachment;")
        assert file.headers["x-content-type-options"] == "nosniff"
        empty = await http.post(where, files={"file": ("empty.txt", b"")})
        assert empty.status_code == 202, empty.text
        assert (await http.post(where, content=b"x")).status_code == 400
        assert (await http.post(where, data={"title": "x"}, files={"other": b"x"})).status_code == 400
        cut = {"Content-Type": "multipart/form-data; boundary=b"}
        assert (await http.post(where, content=b"--b\r\nnonsense", headers=cut)).status_code == 400
        jsonl = await http.post("/api/projects/default/jsonl", files={"file": ("a.jsonl", b'{"id": "1", "text": "x"}\n')})
        assert (jsonl.status_code, jsonl.json()["kind"]) == (202, "jsonl")


async def test_what_was_made_under_an_idempotency_key_is_made_once(house: House) -> None:
    async with house.http() as http:
        for path, body in (("/api/projects", {"name": "new"}), ("/api/keys", {"label": "k", "days": 3})):
            headers = {"Idempotency-Key": "cmd_0193c5a07f7e7abc8def0123456789a" + path[5]}
            first, again = [(await http.post(path, json=body, headers=headers)) for _ in range(2)]
            assert first.status_code == again.status_code == 201, again.text
            assert first.json() == again.json()
        assert (await http.post("/api/projects", json={"name": "new"})).status_code == 409
        assert (await http.post("/api/projects", json={"name": "x"}, headers={"Idempotency-Key": "x" * 300})).status_code == 400
        project = (await http.get("/api/projects/new")).json()
        for _ in range(2):
            gone = await http.delete(f"/api/projects/{project['id']}", headers={"Idempotency-Key": "del"})
            assert gone.status_code == 200


async def test_the_page_and_the_reference_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><p>page</p>")
    (dist / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    async with house_in(tmp_path / "home", dist=dist) as house, house.http(None) as http:
        for path in ("/", "/documents/doc_1", "/index.html"):
            page = await http.get(path)
            assert (page.status_code, page.text) == (200, "<!doctype html><p>page</p>")
            assert page.headers["cache-control"] == "no-cache"
            assert "default-src 'self'" in page.headers["content-security-policy"]
            assert "unsafe" not in page.headers["content-security-policy"]
        script = await http.get("/assets/app-1a2b.js")
        assert "javascript" in script.headers["content-type"]
        assert "immutable" in script.headers["cache-control"]
        assert (await http.get("/assets/none.js")).status_code == 404
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt"):
            assert "secret" not in (await http.get(path)).text
        docs = await http.get("/docs")
        assert "http://" not in docs.text
        assert "https://" not in docs.text
        for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
            assert (await http.get(f"/docs/{name}")).status_code == 200
        document = (await http.get("/openapi.json")).json()
        assert document["paths"]["/api/search"]["post"]["security"] == [{"key": []}]
        assert document["components"]["schemas"]["SearchBody"]["examples"]


async def test_without_a_build_there_is_a_page_that_says_so(tmp_path: Path) -> None:
    async with house_in(tmp_path, dist=tmp_path / "none") as house, house.http(None) as http:
        assert "not built" in (await http.get("/")).text


async def test_no_other_origin_is_let_in(house: House) -> None:
    headers = {"Origin": "http://evil.example", "Authorization": f"Bearer {secret('owner')}"}
    async with httpx.AsyncClient(base_url=house.address) as http:
        answer = await http.get("/api/me", headers=headers)
        assert "access-control-allow-origin" not in answer.headers
        before = {"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"}
        assert (await http.options("/api/me", headers=before)).status_code in (400, 401, 404, 405)
