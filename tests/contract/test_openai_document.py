"""The OpenAPI document of `/v1`: what its routes answer, whole, as events and as errors, is what it says they do, to the field."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from perenne import names
from perenne.errors import DeadlineExceeded, EngineFailed, StorageFailed
from perenne.messages.models import GenerateChunk, GenerateRequest
from perenne.messages.records import Usage
from serve.openai_store_files import batch_id
from tests.contract.edge_house import House, house_in
from tests.contract.test_edge_matrix import DOCUMENT, Operation, example_of, operations, send, stocked

OPENAI = [operation for operation in operations() if operation.path.startswith("/v1/")]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
ASKED: Any = [{"role": "user", "content": "the weather, please"}]
BODY_MAX = 64 << 10


def closed(schema: Any) -> Any:
    """A copy in which no object has fields beyond those that are named."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **strict} if "properties" in schema else strict


COMPONENTS = closed(DOCUMENT["components"])


def problems(schema: Any, value: Any) -> list[str]:
    """Where the value is not of this form, or has more than it."""
    whole = {**closed(schema), "components": COMPONENTS}
    return [f"{error.instance_path}: {error.message}" for error in jsonschema_rs.validator_for(whole).iter_errors(value)]


def form_of(operation: Operation, status: int) -> Any:
    return operation.told["responses"][str(status)]["content"]["application/json"]["schema"]


def piece_of(path: str) -> Any:
    """The form of an event's data."""
    told = DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    data = told["properties"]["data"]
    return data.get("anyOf", [data])[0]["contentSchema"]


def pieces_in(text: str) -> list[Any]:
    """The data of each event, but for the word that ends a stream."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(each) for each in data if each != "[DONE]"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path, requests_per_minute=10**9, body_bytes_max=BODY_MAX, upload_bytes_max=BODY_MAX) as house:
        yield house


class Speaking:
    """A language model that says some words with their figures, and calls two tools, then ends or fails."""

    def __init__(self, fails: bool = False) -> None:
        self._fails = fails

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[GenerateChunk, None]:
        token = {"id": 5, "token": "Rain", "bytes": [82], "logprob": -0.5, "top_logprobs": [{"token": "Sun", "logprob": -2.0}]}
        yield GenerateChunk(text="Rain", logprobs={"content": [token]})
        if request.prompt is None:
            function = {"name": "weather", "arguments": '{"city": '}
            yield GenerateChunk(tool_calls=({"index": 0, "id": "call_1", "type": "function", "function": function},))
            yield GenerateChunk(tool_calls=({"index": 0, "function": {"arguments": '"Brest"}'}},))
        if self._fails:
            raise DeadlineExceeded("language", 1.0)
        yield GenerateChunk(finish_reason="length", usage=Usage(prompt_tokens=3, completion_tokens=1))


def test_each_route_has_the_form_of_its_answer_and_of_its_errors() -> None:
    assert len(OPENAI) > 25
    for operation in OPENAI:
        responses = operation.told["responses"]
        for status in responses:
            if status == "200" and operation.path.endswith("/content") and operation.path.startswith("/v1/files"):
                continue  # the bytes of a file
            schema = form_of(operation, int(status))
            assert (status == "200") != schema["$ref"].endswith("/OpenAIErrorEnvelope"), operation
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
        assert piece_of(path)


def test_each_example_is_what_it_is_an_example_of() -> None:
    shown = {name: form for name, form in DOCUMENT["components"]["schemas"].items() if "examples" in form}
    for name, form in shown.items():
        for example in form["examples"]:
            assert not problems({"$ref": f"#/components/schemas/{name}"}, example), name
    for operation in OPENAI:
        if "application/json" in operation.told["responses"]["200"]["content"]:
            assert form_of(operation, 200)["$ref"].rpartition("/")[2] in shown, operation.path


async def test_what_is_answered_has_the_form_that_is_told_and_no_field_more(house: House) -> None:
    ids = await stocked(house, "owner", "shown")
    met: set[tuple[str, str]] = set()
    async with house.http() as http:
        added = await _in_two_projects(http, ids["store_id"])
        for operation in sorted(OPENAI, key=last_deleted):
            at = {**ids, "file_id": added}
            if operation.path.endswith("/cancel") and "batch" in operation.path:
                at["batch"] = batch_id(1, ["doc_gone"])  # nothing of it is under way
            answer = await send(http, operation, at, **_asked(operation, added))
            assert answer.status_code == 200, (operation.method, operation.path, answer.text)
            met.add((operation.method, operation.path))
            if "application/json" in answer.headers["content-type"]:
                assert not problems(form_of(operation, 200), answer.json()), (operation.path, answer.json())
    assert met == {(operation.method, operation.path) for operation in OPENAI}


def last_deleted(operation: Operation) -> tuple[bool, int]:
    """An order in which nothing is deleted that another still needs."""
    return operation.method == "DELETE", -len(operation.path)


async def _in_two_projects(http: httpx.AsyncClient, project: str) -> str:
    """A document's id."""
    other = (await http.post("/api/projects", json={"name": "others"})).json()["id"]
    added = await http.post(f"/api/projects/{other}/documents", files={"file": ("c.txt", b"another text")})
    id: str = added.json()["document"]["id"]
    await http.post(f"/v1/vector_stores/{project}/files", json={"file_id": id})
    return id


def _asked(operation: Operation, file_id: str) -> dict[str, Any]:
    """The document's own example, of a file that is there, and in one piece."""
    sent = example_of(operation).get("json")
    there = {"stream": False, "file_id": file_id, "file_ids": [file_id]}
    return {} if sent is None else {"json": {name: there.get(name, value) for name, value in sent.items()}}


@pytest.mark.parametrize("fails", [False, True])
async def test_each_event_of_a_stream_has_the_form_that_is_told(house: House, fails: bool) -> None:
    house.directory.put(names.LANGUAGE, Speaking(fails))
    figures = {"stream": True, "stream_options": {"include_usage": True}}
    chat = {**figures, "messages": ASKED}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {**chat, "model": "perenne"}),
        ("/v1/chat/completions", {**chat, "model": "language", "tools": TOOLS, "logprobs": True}),
        ("/v1/completions", {**figures, "model": "language", "prompt": "Once", "logprobs": 1}),
        ("/v1/responses", {"stream": True, "model": "perenne", "input": "When was it built?"}),
        ("/v1/responses", {"stream": True, "model": "language", "input": "weather", "instructions": "Be brief."}),
    ]
    async with house.http() as http:
        for path, body in asked:
            pieces = pieces_in((await http.post(path, json=body)).text)
            assert len(pieces) > 1
            for piece in pieces:
                assert not problems(piece_of(path), piece), (path, piece)
        whole = await http.post("/v1/chat/completions", json={**asked[1][1], "stream": False, "stream_options": None})
        status = 504 if fails else 200
        assert whole.status_code == status
        told = Operation("POST", asked[1][0], DOCUMENT["paths"][asked[1][0]]["post"])
        assert not problems(form_of(told, status), whole.json())


class Failing:
    """An owner that answers every call with this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, method: str) -> Any:
        async def fail(**_: Any) -> Any:
            raise self._error

        return fail if method != "stream" else self._stream

    async def _stream(self, **_: Any) -> AsyncGenerator[Any, None]:
        raise self._error
        yield  # a generator, as the real one is


# Errors: each route is provoked in every way, and the statuses that come are those that the document names for it. 503 and 504
# are of parts that are away: they are met where no store comes before, which is asked again for 10 to 30 s.


async def test_each_route_gives_the_errors_that_are_told_and_no_others(house: House) -> None:
    ids = await stocked(house, "owner", "refused")
    async with house.http() as http:
        ids["file_id"] = await _in_two_projects(http, ids["store_id"])
        house.directory.kill(names.RUN_HOST)  # this run stays queued: there is something to cancel
        posted = await http.post("/api/conversations/cnv_queued/messages", json={"text": "when?"})
        ids["response"] = "resp_" + posted.json()["run"]["id"].removeprefix("run_")
        house.directory.revive(names.RUN_HOST)
        for key in ("used", "used:0"):
            await http.post("/api/projects", json={"name": f"once {key}"}, headers={"Idempotency-Key": key})
    bad = {name: "none" for name in ids} | {"response": "resp_none", "batch": "vsfb_none"}
    came: dict[str, dict[int, Any]] = {f"{each.method} {each.path}": {} for each in OPENAI}

    async def provoke(expected: int, ids: dict[str, str], key: str | None = "owner", **more: Any) -> None:
        """Ask every route that was not refused so yet; keep what it says if it is now."""
        async with house.http(key) as http:
            for operation in sorted(OPENAI, key=last_deleted):
                heard = came[f"{operation.method} {operation.path}"]
                if expected in heard or (expected == 413 and operation.method != "POST"):
                    continue
                sent = _of_nothing(operation) if expected == 404 else _asked(operation, ids["file_id"])
                answer = await send(http, operation, ids, **{**sent, **more})
                if answer.status_code == expected:
                    heard[expected] = answer.json()

    await provoke(401, ids, None)
    await provoke(403, ids, "reader")
    await provoke(403, ids, "writer")
    await provoke(400, ids, headers={"Idempotency-Key": ""})
    await provoke(404, bad)
    await provoke(413, ids, content=b"{" + b" " * 2 * BODY_MAX, json=None, files=None, data=None)
    await provoke(409, ids, headers={"Idempotency-Key": "used"})
    for name in (names.STORE_WRITER, names.blob_store(house.settings.pc)):
        house.directory.put(name, Failing(StorageFailed("the disk is full")))
    await provoke(507, ids)
    for name in (names.store_reader(0), names.STORE_WRITER, names.LANGUAGE, names.EMBEDDING):
        house.directory.put(name, Failing(EngineFailed("it", "it broke")))
    await provoke(500, ids)
    for operation in OPENAI:
        told = {int(status) for status in operation.told["responses"]} - {200, 429, 503, 504}
        heard = came[f"{operation.method} {operation.path}"]
        assert set(heard) == told, operation
        for status, body in heard.items():
            assert not problems(form_of(operation, status), body), (operation.path, body)


async def test_each_route_tells_of_its_pace_and_of_a_crowd(tmp_path: Path) -> None:
    edges: list[tuple[dict[str, Any], int]] = [({"requests_per_minute": 1}, 429), ({"ongoing_requests_max": 0}, 503)]
    for edge, status in edges:
        async with house_in(tmp_path / str(status), **edge) as house, house.http() as http:
            await http.get("/api/me")
            for operation in OPENAI:
                path = operation.path.replace("{", "").replace("}", "")
                answer = await http.request(operation.method, path)
                assert answer.status_code == status
                assert not problems(form_of(operation, status), answer.json())


def _of_nothing(operation: Operation) -> dict[str, Any]:
    """A request that names what is not there."""
    sent = example_of(operation).get("json")
    if operation.method == "GET":
        return {"params": {"after": "doc_none"}}
    names_it = {"model": "gpt", "file_id": "doc_none", "file_ids": ["doc_none"]}
    return {} if sent is None else {"json": {**sent, **names_it}}
