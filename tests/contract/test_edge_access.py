"""Who gets in: every route with no key, a wrong one, a revoked one, the wrong scope, and another user's."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from perenne.testing import FakeDirectory, eventually
from serve.guard import Guard
from serve.http import access_of, build_app
from serve.routes import OTHERS, TABLE
from tests.contract.edge_house import House, house_in, secret, settings_in

KEYED = [line for line in TABLE if line.access != "open"]
TUS = {"Tus-Resumable": "1.0.0"}
_PIECE = {
    "Upload-Length": "1",
    "Upload-Offset": "0",
    "Content-Type": "application/offset+octet-stream",
    "X-HTTP-Method-Override": "PATCH",
}
_FILLED = {
    "{project}": "nobodys", "{document_id}": "doc_none", "{conversation_id}": "cnv_none", "{run_id}": "run_none", "{job_id}": "job_none",
    "{message_id}": "msg_none", "{key_id}": "key_none", "{model:path}": "none",
    "{watch_id}": "wat_none", "{upload_id}": "upl_none", "{backup_id}": "none", "{alert_id}": "alr_none", "{silence_id}": "sil_none",
    "{delivery_id}": "dlv_none", "{channel_id}": "chn_none", "{subscriber_id}": "sub_none",
}  # fmt: skip


def filled(path: str) -> str:
    for hole, value in _FILLED.items():
        path = path.replace(hole, value)
    return path


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as house:
        yield house


def test_every_route_has_a_line_and_one_without_lets_nobody_in(tmp_path: Path) -> None:
    app = build_app(settings_in(tmp_path), FakeDirectory())
    table = {(line.method, line.path): line.access for line in TABLE}
    open_paths = {route.path for route in app.routes if route.app.access == "open"}
    assert open_paths == {"/livez", "/readyz", "/docs", "/docs/{name}", "/openapi.json", ""}
    for route in app.routes:
        assert isinstance(route.app, Guard), route.path
        assert route.app.access is not None, f"{route.path} has no line in serve/routes.py"

    @app.get("/api/new-and-forgotten")
    async def forgotten() -> None: ...

    assert access_of(app.routes[-1], table) is None
    assert set(OTHERS.values()) <= {"open", "read"}


async def test_without_a_good_key_nobody_gets_in(house: House) -> None:
    async with house.http(None) as http:
        for line in KEYED:
            lacking = {"read": "writer", "write": "reader", "admin": "reader"}[line.access]
            for key, status in ((None, 401), ("wrong", 401), ("revoked", 401), (lacking, 403)):
                headers = {} if key is None else {"Authorization": f"Bearer {secret(key)}"}
                answer = await http.request(line.method, filled(line.path), headers=headers)
                assert answer.status_code == status, (line, key, answer.text)
                assert ("www-authenticate" in answer.headers) == (status == 401)
                if line.method == "HEAD":  # it has no body
                    continue
                error = answer.json()["error"]
                assert error["message"]
                assert ("type" in error) == line.path.startswith("/v1"), "OpenAI's envelope on /v1 and only there"


async def test_odd_authorization_headers_are_refused(house: House) -> None:
    async with house.http(None) as http:
        for value in ("Bearer", "Basic cGs6", "bearer " + "x" * 600, "Bearer p\xe4", secret("owner")):
            answer = await http.get("/api/projects", headers=[(b"Authorization", value.encode("latin-1"))])
            assert answer.status_code == 401


async def _stock(house: House) -> dict[str, str]:
    """One of each kind of thing, of the owner's."""
    async with house.http() as http:
        added = (await http.post("/api/projects/default/documents", files={"file": ("a.txt", b"hello")})).json()
        posted = (await http.post("/api/conversations/cnv_a/messages", json={"text": "Hello?"})).json()
        await eventually(lambda: house.runs.started)
        key = (await http.post("/api/keys", json={"label": "x"})).json()
        begun = (await http.post("/api/projects/default/uploads", headers={**TUS, "Upload-Length": "9"})).json()
    return {
        "{project}": house.projects["owner"], "{document_id}": added["document"]["id"], "{conversation_id}": "cnv_a",
        "{run_id}": posted["run"]["id"], "{job_id}": added["job"]["id"], "{message_id}": posted["reply"]["id"], "{key_id}": key["key"]["id"],
        "{upload_id}": begun["id"],
    }  # fmt: skip


async def test_another_users_id_is_a_404_everywhere(house: House) -> None:
    stock = await _stock(house)
    lines = [line for line in KEYED if any(hole in line.path for hole in stock)]
    assert len(lines) > 20
    async with house.http("other") as http:
        for line in lines:
            path = line.path
            for hole, id in stock.items():
                path = path.replace(hole, id)
            body = {
                "/api/projects/{project}": {"name": "mine"},
                "/api/documents/{document_id}/projects": {"project": "default"},
                "/api/conversations/{conversation_id}/messages": {"text": "?"},
                "/api/conversations/{conversation_id}": {"title": "mine"},
            }.get(line.path, {})
            sent = (
                {"files": {"file": ("b.txt", b"x")}}
                if line.body
                else {}
                if line.method in ("GET", "DELETE")
                else {"json": body}
            )
            answer = await http.request(line.method, path, headers={**TUS, **_PIECE} if "/uploads" in path else {}, **sent)
            assert answer.status_code == 404, (line.method, path, answer.status_code, answer.text)
    async with house.http() as http:  # and nothing of it was harmed
        assert (await http.get(f"/api/documents/{stock['{document_id}']}")).status_code == 200


async def test_a_key_of_one_project_sees_nothing_else(house: House) -> None:
    async with house.http() as http:
        there = (await http.post("/api/projects", json={"name": "elsewhere"})).json()["id"]
        added = (await http.post("/api/projects/elsewhere/documents", files={"file": ("a.txt", b"hello")})).json()
        talk = (await http.post("/api/conversations/cnv_e/messages", json={"text": "Hi", "project": there})).json()
        await http.post("/api/projects/default/documents", files={"file": ("b.txt", b"there")})
    async with house.http("bound") as http:
        assert [p["name"] for p in (await http.get("/api/projects")).json()["items"]] == ["default"]
        assert [d["title"] for d in (await http.get("/api/documents")).json()["items"]] == ["b.txt"]
        for path in (
            f"/api/projects/{there}", "/api/projects/elsewhere", f"/api/documents/{added['document']['id']}", f"/api/jobs/{added['job']['id']}",
            f"/api/documents/{added['document']['id']}/text", f"/api/runs/{talk['run']['id']}", "/api/conversations/cnv_e",
            "/api/conversations/cnv_e/messages", "/api/documents?project=elsewhere", f"/api/runs/{talk['run']['id']}/events",
        ):  # fmt: skip
            assert (await http.get(path)).status_code == 404, path
        assert (await http.post("/api/search", json={"query": "x", "project": there})).status_code == 404
        assert (await http.post("/api/conversations/cnv_e/messages", json={"text": "x"})).status_code == 404
        assert (await http.delete(f"/api/documents/{added['document']['id']}")).status_code == 404
        assert (await http.post("/api/projects", json={"name": "more"})).status_code == 403
        assert (await http.post("/api/keys", json={"label": "wider"})).status_code == 403
        assert (await http.post("/api/search", json={"query": "x"})).status_code == 200
    assert house.runs.requests[-1].project_id == house.projects["owner"]


async def test_a_key_of_one_project_regenerates_there_and_nowhere_else(house: House) -> None:
    """It was told 403 even in its own project."""
    async with house.http() as http:
        await http.post("/api/projects", json={"name": "elsewhere"})
        inside = (await http.post("/api/conversations/cnv_i/messages", json={"text": "Hi", "project": "default"})).json()
        outside = (await http.post("/api/conversations/cnv_o/messages", json={"text": "Hi", "project": "elsewhere"})).json()
        everywhere = (await http.post("/api/conversations/cnv_n/messages", json={"text": "Hi"})).json()
    async with house.http("bound") as http:
        for message in (inside["reply"]["id"], inside["question"]["id"]):
            again = await http.post(f"/api/messages/{message}/regenerate")
            assert again.status_code == 202, again.text
            assert again.json()["run"]["project_id"] == house.projects["owner"]
        for message in (outside["reply"]["id"], everywhere["reply"]["id"], "msg_none"):
            refused = await http.post(f"/api/messages/{message}/regenerate")
            assert refused.status_code == 404, refused.text
            assert refused.json()["error"]["message"] == f"no message {message!r}"


async def test_a_key_of_one_project_harms_no_other_and_sees_no_keys_of_others(house: House) -> None:
    """It deleted documents out of other projects, was shown what it could not unlink, and the labels of all keys."""
    async with house.http() as http:
        await http.post("/api/projects", json={"name": "elsewhere"})
        shared = (await http.post("/api/projects/default/documents", files={"file": ("a.txt", b"shared")})).json()["document"][
            "id"
        ]
        await http.post(f"/api/documents/{shared}/projects", json={"project": "elsewhere"})
        theirs = (await http.post("/api/projects/elsewhere/documents", files={"file": ("b.txt", b"b")})).json()["document"][
            "id"
        ]
    async with house.http("bound") as http:
        assert [key["id"] for key in (await http.get("/api/keys")).json()] == ["key_bound"]
        assert (await http.delete(f"/api/documents/{theirs}/projects/default")).status_code == 404
        assert (await http.delete(f"/api/documents/{shared}")).status_code == 403
        assert (await http.delete(f"/api/documents/{shared}/projects/default")).status_code == 200
        assert (await http.get(f"/api/documents/{shared}")).status_code == 404
    async with house.http() as http:
        assert (await http.get(f"/api/documents/{shared}")).status_code == 200
        assert len((await http.get("/api/keys")).json()) > 3


async def test_a_revoked_key_is_out_within_a_second(house: House) -> None:
    async with house.http() as admin:
        made = (await admin.post("/api/keys", json={"label": "brief", "scopes": ["read"]})).json()
        async with httpx.AsyncClient(base_url=house.address, headers={"Authorization": f"Bearer {made['secret']}"}) as http:
            assert (await http.get("/api/projects")).status_code == 200
            assert (await http.post("/api/projects", json={"name": "x"})).status_code == 403
            assert (await admin.delete(f"/api/keys/{made['key']['id']}")).status_code == 200
            since = time.monotonic()

            async def out() -> bool:
                return (await http.get("/api/projects")).status_code == 401

            await eventually(out, within_s=1.2)
            assert time.monotonic() - since < 1.2
        assert made["secret"] not in (await admin.get("/api/keys")).text


async def test_a_key_asked_for_many_times_at_once_is_looked_up_once(house: House) -> None:
    async with house.http() as http:
        await asyncio.gather(*(http.get("/api/me") for _ in range(30)))
    asked = [call for call in house.directory.calls if call[1] == "key_by_hash"]
    assert 1 <= len(asked) <= 3


async def test_an_unknown_route_is_a_401_and_with_a_key_a_404(house: House) -> None:
    async with house.http(None) as nobody, house.http() as owner:
        for path in ("/api/nothing", "/v1/nothing", "/api/../api/nothing"):
            assert (await nobody.get(path)).status_code == 401
            assert (await owner.get(path)).status_code == 404
