"""Who is refused, for every route that the OpenAPI document or the application has: a route added tomorrow is in here by itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.websockets import WebSocket

import serve.http
from perenne.ids import new_id
from perenne.messages import commands
from perenne.testing import FakeDirectory, eventually
from serve.guard import Guard
from serve.http import build_app
from serve.openapi import document
from serve.routes import TABLE
from tests.contract.edge_house import BACKUP, House, house_in, make_key, secret, settings_in

OPEN = {("GET", path) for path in ("/livez", "/readyz", "/docs", "/docs/{name}", "/openapi.json")}
EVERY = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
OF_THE_INSTANCE = ("alert_id", "silence_id", "delivery_id", "channel_id", "subscriber_id")
MARK = "zanzibar"  # a word of the owner's: it may stand in nobody else's answer


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    told: Any  # what the document says of it

    @property
    def holes(self) -> list[str]:
        return [p["name"] for p in self.told.get("parameters", ()) if p["in"] == "path"]

    @property
    def queries(self) -> list[str]:
        return [p["name"] for p in self.told.get("parameters", ()) if p["in"] == "query"]


DOCUMENT: dict[str, Any] = json.loads(document())


def operations() -> list[Operation]:
    """Every operation of the document."""
    paths = DOCUMENT["paths"]
    return [Operation(method.upper(), path, told) for path, methods in paths.items() for method, told in methods.items()]


KEYED = [operation for operation in operations() if (operation.method, operation.path) not in OPEN]


def example_of(operation: Operation) -> dict[str, Any]:
    """What to send, as the document shows it."""
    content = operation.told.get("requestBody", {}).get("content", {})
    if any(parameter["name"] == "Tus-Resumable" for parameter in operation.told.get("parameters", ())):
        tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
        return {"headers": {**tus, "Content-Type": "application/offset+octet-stream"}}
    if "multipart/form-data" in content:
        return {"files": {"file": ("b.txt", b"x")}, "data": {"purpose": "assistants"}}
    schema = content.get("application/json", {}).get("schema")
    if schema is None:
        return {}
    components = DOCUMENT["components"]["schemas"]
    refs = [schema.get("$ref"), *(each.get("$ref") for each in schema.get("anyOf", ()))]
    name = next(ref for ref in refs if ref).rpartition("/")[2]
    return {"json": components[name]["examples"][0]}


async def send(http: httpx.AsyncClient, operation: Operation, ids: dict[str, str], **more: Any) -> httpx.Response:
    """The operation on these ids. A hole that the stock has nothing for fails the test: put one of it there."""
    path = operation.path
    for hole in operation.holes:
        path = path.replace(f"{{{hole}}}", ids[hole])
    return await http.request(operation.method, path, **{**example_of(operation), **more})


async def stocked(house: House, key: str, label: str, project: str | None = None) -> dict[str, str]:
    """One of each kind of thing that a path may name, by the name of the hole."""
    async with house.http(key) as http:
        if project is None:
            project = (await http.post("/api/projects", json={"name": f"{MARK} {label}"})).json()["id"]
        files = {"file": (f"{MARK}-{label}.txt", f"{MARK} {label}".encode())}
        added = (await http.post(f"/api/projects/{project}/documents", files=files)).json()
        body = {"text": f"{MARK}?", "project": project}
        posted = (await http.post(f"/api/conversations/cnv_{label}/messages", json=body)).json()
        await eventually(lambda: posted["run"]["id"] in house.runs.started)
        made = (await http.post("/api/keys", json={"label": f"{MARK} {label}", "project": project})).json()
        ids = {
            "project": project, "document_id": added["document"]["id"], "job_id": added["job"]["id"], "conversation_id": f"cnv_{label}",
            "run_id": posted["run"]["id"], "message_id": posted["reply"]["id"], "key_id": made["key"]["id"],
            "file_id": added["document"]["id"], "store_id": project, "vector_store_id": project, "model": f"perenne:{project}",
            "backup_id": BACKUP.id, **dict.fromkeys(OF_THE_INSTANCE, "of_the_instance"),
        }  # fmt: skip
        begun = await http.post(f"/api/projects/{project}/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "9"})
        ids["upload_id"] = begun.json()["id"]
        batch = await http.post(f"/v1/vector_stores/{project}/file_batches", json={"file_ids": [ids["file_id"]]})
        ids["batch"] = ids["batch_id"] = batch.json().get("id", "vsfb_none")
        if any("watch_id" in operation.holes for operation in KEYED):
            ids["watch_id"] = await _watched(house, project, label)
        ids["response"] = ids["response_id"] = "resp_" + ids["run_id"].removeprefix("run_")
        await eventually(lambda: _all_done(house, key))
    return ids


async def _watched(house: House, project: str, label: str) -> str:
    """A watched folder of the project's owner: no disk is looked at for it."""
    owner = "owner" if await _has(house, "owner", project) else "other"
    command = commands.AddWatch(
        command_id=new_id("cmd"),
        user_id=owner,
        watch_id=f"wat_{label}",
        project_id=project,
        path=f"/srv/{MARK}-{label}",
        ignore=(),
    )
    return (await house.store.write(command)).id


async def _has(house: House, user: str, project: str) -> bool:
    projects = (await house.store.read("projects", user_id=user, limit=500, after=None)).items
    return any(each.id == project for each in projects)


async def _all_done(house: House, key: str) -> bool:
    async with house.http(key) as http:
        talks = (await http.get("/api/conversations")).json()["items"]
        for talk in talks:
            messages = (await http.get(f"/api/conversations/{talk['id']}/messages")).json()["items"]
            if any(message["state"] in ("queued", "running") for message in messages):
                return False
    return True


async def world(house: House) -> str:
    """All that the owner has, as text."""
    said: list[Any] = []
    async with house.http() as http:
        for path in ("projects", "documents", "jobs", "conversations"):
            items = (await http.get(f"/api/{path}")).json()["items"]
            said.append(sorted(items, key=lambda item: item["id"]))
        said.append([(await http.get(f"/api/conversations/{talk['id']}/messages")).json() for talk in said[-1]])
        said.append([{**key, "last_used_at": None} for key in (await http.get("/api/keys")).json()])
    return json.dumps(said, sort_keys=True)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path, requests_per_minute=10**9) as house:
        yield house


def test_document_and_application_have_the_same_routes_and_each_says_that_it_needs_a_key(tmp_path: Path) -> None:
    app = build_app(settings_in(tmp_path), FakeDirectory())
    there = {
        (method, path)
        for route in app.routes
        if (path := getattr(route, "path", ""))
        for method in getattr(route, "methods", None) or ()
    }
    hidden = {("GET", "/docs"), ("GET", "/docs/{name}"), ("GET", "/openapi.json"), ("HEAD", "/openapi.json")}
    rest = {(method, path) for method in EVERY for path in ("/api/{rest:path}", "/v1/{rest:path}")}
    plain = {(method, path.replace(":path}", "}")) for method, path in there - rest - hidden}
    assert plain == {(operation.method, operation.path) for operation in operations()}
    assert len(KEYED) > 40
    for operation in KEYED:
        assert operation.told["security"] == [{"key": []}], operation.path
    for route in app.routes:
        assert isinstance(route.app, Guard), route
        methods = getattr(route, "methods", None) or ["GET"]
        is_open = {(method, route.path) for method in methods} <= {*OPEN, ("HEAD", "/openapi.json"), ("GET", "")}
        assert (route.app.access == "open") == is_open, route.path


async def test_a_route_that_nobody_gave_access_to_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added to the application in any of the ways there are, and forgotten in serve/routes.py."""
    with_others = serve.http._add_others

    def with_forgotten(app: FastAPI, dist: Path) -> None:
        async def forgotten() -> str:
            return MARK

        async def forgotten_socket(socket: WebSocket) -> None:
            await socket.accept()

        async def forgotten_app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": MARK.encode()})

        app.add_api_route("/api/forgotten", forgotten, methods=EVERY)
        app.add_api_websocket_route("/forgotten", forgotten_socket)
        app.router.routes.append(Mount("/mounted", app=forgotten_app))
        with_others(app, dist)

    monkeypatch.setattr(serve.http, "_add_others", with_forgotten)
    async with house_in(tmp_path) as house:
        for key, status in ((None, 401), ("owner", 403)):
            async with house.http(key) as http:
                for method in EVERY:
                    assert (await http.request(method, "/api/forgotten")).status_code == status, (method, key)
                assert (await http.get("/mounted/x")).status_code == status, key
        assert await _socket_status(house, "/forgotten", "owner") == 403


async def _socket_status(house: House, path: str, key: str | None = None, **headers: str) -> int:
    """The status of a WebSocket's opening; 101 when it opens."""
    sent = {**({} if key is None else {"Authorization": f"Bearer {secret(key)}"}), **headers}
    try:
        async with websockets.connect(house.address.replace("http", "ws") + path, additional_headers=sent):
            return 101
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


def keys_in_vain() -> Iterator[tuple[str, dict[str, str]]]:
    good = secret("owner")
    yield "no key", {}
    for said in (
        "pk_wrong",
        secret("revoked"),
        secret("expired"),
        good[:-1],
        good + "x",
        good.upper(),
        " ",
        "",
        "null",
        "undefined",
        "*",
    ):
        yield said, {"Authorization": f"Bearer {said}".strip()}
    for scheme in ("Basic", "Token", "Digest", "BearerX"):
        yield scheme, {"Authorization": f"{scheme} {good}"}
    yield "bare", {"Authorization": good}
    for name in (
        "X-Api-Key",
        "Api-Key",
        "X-Authorization",
        "Proxy-Authorization",
        "X-Forwarded-Authorization",
        "Sec-WebSocket-Protocol",
    ):
        yield name, {name: good}
    yield "cookie", {"Cookie": f"key={good}; Authorization=Bearer {good}"}
    for name in (
        "X-Forwarded-For",
        "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-User-Id",
        "Forwarded",
    ):
        yield name, {name: "127.0.0.1" if "URL" not in name else "/livez"}


async def test_no_route_takes_a_caller_without_a_good_key(house: House) -> None:
    await make_key(house.store, "expired", "owner", ("read", "write", "admin"))
    async with house.http() as http:
        gone = (
            await http.post("/api/keys", json={"label": "brief", "scopes": ["read", "write", "admin"], "days": 1e-9})
        ).json()
    nothing = dict.fromkeys(await stocked(house, "owner", "one"), "none")
    tried = [*keys_in_vain(), ("expired", {"Authorization": f"Bearer {gone['secret']}"})]
    tried = [(words, headers) for words, headers in tried if secret("expired") not in str(headers)]
    async with house.http(None) as http:
        for operation in KEYED:
            for words, headers in tried:
                answer = await send(http, operation, nothing, headers=headers)
                assert answer.status_code == 401, (operation.method, operation.path, words, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            for query in (f"?key={secret('owner')}", f"?ticket={secret('owner')}", f"?access_token={secret('owner')}"):
                path = operation.path.replace("{", "").replace("}", "") + query
                assert (await http.request(operation.method, path)).status_code == 401, (operation.path, query)
    for words, headers in tried:
        assert await _socket_status(house, "/ws", **headers) == 401, words


async def test_no_route_takes_a_key_of_another_scope(house: House) -> None:
    """A key of every set of scopes that lacks what the table wants; and what it wants fits what the method does."""
    table = {(line.method, line.path.replace(":path}", "}")): line.access for line in TABLE}
    nothing = dict.fromkeys(await stocked(house, "owner", "one"), "none")
    sets = [("read",), ("write",), ("admin",), ("read", "write"), ("read", "admin"), ("write", "admin")]
    for scopes in sets:
        await make_key(house.store, "-".join(scopes), "owner", scopes)
        async with house.http("-".join(scopes)) as http:
            for operation in KEYED:
                access = table[(operation.method, operation.path)]
                answer = await send(http, operation, nothing)
                keeps = operation.path in ("/v1/chat/completions", "/v1/responses") and "write" not in scopes  # what it asks
                expected = access not in scopes or keeps
                assert (answer.status_code == 403) == expected, (operation.method, operation.path, scopes, answer.text)
        assert (await _socket_status(house, "/ws", "-".join(scopes)) == 101) == ("read" in scopes)
    thinks = {("POST", "/api/search"), ("POST", "/api/ws-ticket"), ("POST", "/api/models/language/warm")}
    for (method, path), access in table.items():  # what only thinks or looks, though it is a POST, is stated here
        asks = path.startswith("/v1/") and path.endswith(("completions", "embeddings", "responses", "/search", "input_tokens"))
        if method != "GET" and (method, path) not in thinks and not asks:
            assert access in ("write", "admin"), (method, path)


async def refused_everywhere(house: House, key: str, theirs: dict[str, str], own: dict[str, str]) -> None:
    """Each operation with one foreign id at a time among own ones, and with all of them foreign; in queries and bodies too."""
    foreign = set(theirs.values())
    tried = 0
    async with house.http(key) as http:
        for operation in KEYED:
            answers: list[tuple[Any, httpx.Response]] = []
            sets = [{**own, hole: theirs[hole]} for hole in operation.holes]
            if len(operation.holes) > 1:
                sets.append(theirs)
            for ids in sets:
                if (
                    operation.holes
                    and ids["store_id"] not in foreign
                    and ids["batch"] == theirs["batch"]
                    and "batch" in operation.path
                ):
                    continue  # a batch's id is a list of files' ids: in one's own store those of others are not found, one by one
                answers.append((ids, await send(http, operation, ids)))
            if "project" in operation.queries and not operation.holes:
                answers.append(("query", await send(http, operation, own, params={"project": theirs["project"]})))
            body = example_of(operation).get("json")
            if body is not None:
                for field, value in foreign_fields(operation, theirs):
                    answers.append((field, await send(http, operation, own, json={**_grounded(body), field: value})))
            for words, answer in answers:
                tried += 1
                assert answer.status_code in (403, 404), (
                    operation.method,
                    operation.path,
                    words,
                    answer.status_code,
                    answer.text,
                )
                assert MARK not in answer.text, (operation.path, words, answer.text)
    assert tried > 60


def _grounded(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "model": "perenne"} if "model" in body else body


def foreign_fields(operation: Operation, theirs: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The fields of its body that name a thing."""
    components = DOCUMENT["components"]["schemas"]
    schema = operation.told["requestBody"]["content"]["application/json"]["schema"]
    refs = [schema.get("$ref"), *(each.get("$ref") for each in schema.get("anyOf", ()))]
    fields = components[next(ref for ref in refs if ref).rpartition("/")[2]]["properties"]
    for field in ("project", "file_id"):
        if field in fields:
            yield field, theirs[field]
    if "file_ids" in fields:
        yield "file_ids", [theirs["file_id"]]
    if "model" in fields and operation.path not in ("/v1/embeddings", "/v1/completions"):
        yield "model", theirs["model"]
    if "previous_response_id" in fields:
        yield "previous_response_id", theirs["response"]


async def test_another_users_things_are_nowhere_to_be_had(house: House) -> None:
    theirs, own = await stocked(house, "owner", "one"), await stocked(house, "other", "own")
    before = await world(house)
    assert MARK in before
    async with house.http("other") as http:  # what the other has bears the mark as well: take it away
        await http.patch(f"/api/projects/{own['project']}", json={"name": "mine"})
    await refused_everywhere(house, "other", theirs, own)
    assert await world(house) == before


async def test_another_projects_things_are_nowhere_to_be_had(house: House) -> None:
    theirs = await stocked(house, "owner", "elsewhere")
    own = await stocked(house, "owner", "inside", house.projects["owner"])
    before = await world(house)
    await refused_everywhere(house, "bound", theirs, own)
    assert await world(house) == before


@pytest.mark.parametrize("key", ["other", "bound"])
async def test_a_websocket_follows_no_run_of_others(house: House, key: str) -> None:
    theirs = await stocked(house, "owner", "elsewhere")
    headers = {"Authorization": f"Bearer {secret(key)}"}
    async with websockets.connect(house.address.replace("http", "ws") + "/ws", additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "subscribe", "run_id": theirs["run_id"], "after": 0}))
        said = json.loads(await asyncio.wait_for(socket.recv(), 10))
        assert said["type"] == "error"
        assert said["error"]["code"] == "not_found"
        await socket.send(json.dumps({"type": "ping"}))
        assert json.loads(await asyncio.wait_for(socket.recv(), 10)) == {"type": "pong"}


async def test_a_ticket_is_worth_no_more_than_its_key(house: House) -> None:
    async with house.http() as http:
        made = (await http.post("/api/keys", json={"label": "brief", "scopes": ["read"]})).json()
        async with httpx.AsyncClient(base_url=house.address, headers={"Authorization": f"Bearer {made['secret']}"}) as brief:
            tickets = [(await brief.post("/api/ws-ticket")).json()["ticket"] for _ in range(3)]
        assert await _socket_status(house, f"/ws?ticket={tickets[0]}") == 101
        assert await _socket_status(house, f"/ws?ticket={tickets[0]}") == 401, "twice"
        words, _, signature = tickets[1].rpartition(".")
        key_hash, until, nonce = words.split(".")
        for forged in (
            "", ".", "...", words, f"{words}.", f"{words}.{signature[:-1]}0", f"{words}.{signature}.{signature}",
            f"{key_hash}.{int(until) + 999}.{nonce}.{signature}", f"{key_hash}.nan.{nonce}.{signature}", f"../../x.{until}.{nonce}.{signature}",
        ):  # fmt: skip
            assert forged == tickets[1] or await _socket_status(house, f"/ws?ticket={forged}") == 401, forged
        assert (await http.request("GET", "/api/me", headers={"Authorization": f"Bearer {tickets[1]}"})).status_code == 401
        await http.delete(f"/api/keys/{made['key']['id']}")

        async def out() -> bool:
            ticket = tickets[-1]
            return await _socket_status(house, f"/ws?ticket={ticket}") == 401

        await eventually(out, within_s=1.2)


async def test_no_page_of_another_site_gets_anything_even_with_a_key(house: House) -> None:
    """DNS rebinding: evil.example points to 127.0.0.1 once its page is loaded; the server answered it, page and documents."""
    port = house.address.rpartition(":")[2]
    ids = dict.fromkeys(await stocked(house, "owner", "one"), "none")
    every = [
        *operations(),
        *(Operation("GET", path, {}) for path in ("/", "/index.html", "/docs", "/openapi.json", "/api/x", "/v1/x")),
    ]
    evil, near = f"evil.example:{port}", f"http://127.0.0.1:{int(port) - 1}"
    sites = [{"Host": evil}, {"Host": f"127.0.0.1.nip.io:{port}"}, {"Host": evil, "Origin": f"http://{evil}"}]
    sites += [{"Origin": origin} for origin in ("http://evil.example", f"http://localhost:{port}", "null", near)]
    async with house.http() as http:
        for site in sites:
            for operation in every:
                answer = await send(http, operation, ids, headers=site)
                assert answer.status_code == 400, (operation.path, site, answer.status_code)
                assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert await _socket_status(house, "/ws", "owner", **site) == 400, site
        same = {"Origin": house.address}
        assert (await http.post("/api/projects", json={"name": "from our page"}, headers=same)).status_code == 201
        for method in ("OPTIONS", "GET"):  # no preflight is ever answered, so that a browser sends no key from elsewhere
            asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
            answer = await http.request(method, "/api/projects", headers={**asked, **same})
            assert not [name for name in answer.headers if name.startswith("access-control-")]
