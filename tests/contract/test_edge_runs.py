"""Questions and their answers: durable runs, resumed streams, stopped ones, WebSockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
import starlette.websockets
import websockets

from perenne.api import decode
from perenne.http_api import HttpPerenne
from perenne.messages.models import GenerateChunk
from perenne.messages.records import RunEvent
from perenne.testing import eventually
from tests.contract.edge_house import House, house_in, secret


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path) as house:
        yield house


async def read_events(
    http: httpx.AsyncClient, run_id: str, after: int | None = 0, upto: int | None = None, headers: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    query = {} if after is None else {"after": after}
    async with httpx_sse.aconnect_sse(http, "GET", f"/api/runs/{run_id}/events", params=query, headers=headers or {}) as source:
        async for sent in source.aiter_sse():
            if not sent.data:
                continue
            event = json.loads(sent.data)
            assert sent.id == str(event["seq"])
            assert sent.event == event["kind"]
            seen.append(event)
            if event["seq"] == upto:
                break
    return seen


async def post(http: httpx.AsyncClient, text: str = "When?", **more: Any) -> dict[str, Any]:
    answer = await http.post("/api/conversations/cnv_1/messages", json={"text": text, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()


async def test_a_cut_stream_resumes_at_the_next_event(house: House) -> None:
    house.runs.hold_after = 2
    async with house.http() as http:
        posted = await post(http)
        run_id = posted["run"]["id"]
        first = await read_events(http, run_id, upto=4)
        house.runs.gate.set()
        rest = await read_events(http, run_id, after=first[-1]["seq"])
        by_header = await read_events(http, run_id, None, headers={"Last-Event-ID": str(first[-1]["seq"])})
        whole = await read_events(http, run_id)
    assert first + rest == whole
    assert by_header == rest
    assert "".join(e["data"]["text"] for e in whole if e["kind"] == "delta") == "It was built in 1863."
    assert whole[-1]["kind"] == "done"
    assert [e["kind"] for e in whole].count("step") == 0
    assert decode(RunEvent, whole[-1]).data["grounded"] is True


async def test_bad_places_to_resume_from_are_said_to_be_bad(house: House) -> None:
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        assert (await http.get(f"/api/runs/{run_id}/events?after=-1")).status_code == 422
        assert (await http.get(f"/api/runs/{run_id}/events?after=x")).status_code == 422
        assert (await http.get(f"/api/runs/{run_id}/events", headers={"Last-Event-ID": "9" * 30})).status_code == 400


async def test_the_stream_goes_on_while_the_run_host_is_away(house: House) -> None:
    """From the database, and live again once it is back."""
    house.runs.hold_after = 2
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        reading = asyncio.create_task(read_events(http, run_id))
        await eventually(lambda: house.directory.open_streams.get("RunHost"))
        house.directory.kill("RunHost")
        house.runs.gate.set()
        events = await asyncio.wait_for(reading, 10)
    assert events[-1]["kind"] == "done"
    assert [e["seq"] for e in events] == sorted({e["seq"] for e in events})


async def test_leaving_a_stream_ends_its_follow_and_not_the_run(house: House) -> None:
    house.runs.hold_after = 1
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        await read_events(http, run_id, upto=2)
        await eventually(lambda: house.directory.open_streams["RunHost"] == 0, within_s=1)
        assert house.runs.stopped == []
        house.runs.gate.set()
        assert (await read_events(http, run_id))[-1]["kind"] == "done"


async def test_a_stop_is_on_disk_and_the_host_is_told(house: House) -> None:
    house.runs.hold_after = 1
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        await eventually(lambda: house.runs.started)
        stopped = (await http.post(f"/api/runs/{run_id}/stop")).json()
        assert stopped["stop_requested"] or stopped["state"] == "stopped"
        await eventually(lambda: house.runs.stopped == [run_id])


async def test_the_same_question_under_the_same_key_is_asked_once(house: House) -> None:
    async with house.http() as http, house.http("other") as other:
        headers = {"Idempotency-Key": "try-1"}
        body = {"text": "When?"}
        first, again = [
            (await http.post("/api/conversations/cnv_1/messages", json=body, headers=headers)).json() for _ in range(2)
        ]
        assert first["run"]["id"] == again["run"]["id"]
        assert len((await http.get("/api/conversations/cnv_1/messages")).json()["items"]) == 2
        clash = await http.post("/api/conversations/cnv_1/messages", json={"text": "Who?"}, headers=headers)
        assert (clash.status_code, clash.json()["error"]["code"]) == (409, "command_reused")
        theirs = await other.post("/api/conversations/cnv_9/messages", json=body, headers=headers)
        assert theirs.status_code == 202, "another user's keys are their own"
        assert theirs.json()["run"]["id"] != first["run"]["id"]


async def test_a_conversation_lives_through_its_routes(house: House) -> None:
    async with house.http() as http:
        made = (await http.post("/api/conversations", json={"title": "Lights", "project": "default"})).json()
        assert made["project_id"] == house.projects["owner"]
        at = f"/api/conversations/{made['id']}"
        assert (await http.patch(at, json={"title": "Towers"})).json()["title"] == "Towers"
        posted = (await http.post(f"{at}/messages", json={"text": "When?", "options": {"temperature": 0.1}})).json()
        await read_events(http, posted["run"]["id"])
        redone = await http.post(f"/api/messages/{posted['reply']['id']}/regenerate")
        assert redone.status_code == 202
        await read_events(http, redone.json()["run"]["id"])
        messages = (await http.get(f"{at}/messages")).json()["items"]
        assert [m["role"] for m in messages] == ["user", "assistant"]
        assert messages[1]["id"] == redone.json()["reply"]["id"]
        assert messages[1]["citations"][0]["quote"] == "built in 1863"
        assert [c["id"] for c in (await http.get("/api/conversations")).json()["items"]] == [made["id"]]
        assert (await http.delete(at)).json() == {"id": made["id"]}
        assert (await http.get(at)).status_code == 404


async def test_our_own_client_asks_and_is_answered(house: House) -> None:
    async with HttpPerenne(house.address, secret("owner")) as client:
        answer = await client.ask("When was it built?", "default")
        assert (answer.text, answer.state, answer.grounded) == ("It was built in 1863.", "done", True)
        assert answer.citations[0].page is None
        assert answer.sources[0].document_id == "doc_1"
        assert (await client.search("built", "default")).hits[0].page == 2
        assert (await client.status()).ready
        assert [m.role for m in await client.models()] == ["language", "embedding"]


async def _ticket(house: House) -> str:
    async with house.http() as http:
        answer = await http.post("/api/ws-ticket")
        assert answer.status_code == 201
        return str(answer.json()["ticket"])


async def test_a_ticket_opens_one_websocket_once(house: House) -> None:
    address = house.address.replace("http", "ws") + "/ws?ticket="
    ticket = await _ticket(house)
    async with websockets.connect(address + ticket, origin=house.address) as socket:  # type: ignore[arg-type]
        await socket.send('{"type": "ping"}')
        assert json.loads(await socket.recv()) == {"type": "pong"}
    forged = ticket[:-1] + ("0" if ticket[-1] != "0" else "1")
    for bad in (ticket, forged, "", "a.b.c.d"):
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(address + bad)
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(address + await _ticket(house), origin="http://evil.example")  # type: ignore[arg-type]


async def test_the_websocket_carries_the_same_events(house: House) -> None:
    house.runs.hold_after = 2
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        headers = {"Authorization": f"Bearer {secret('owner')}"}
        async with websockets.connect(house.address.replace("http", "ws") + "/ws", additional_headers=headers) as socket:
            await socket.send(json.dumps({"type": "subscribe", "run_id": run_id, "after": 0}))
            first = json.loads(await socket.recv())
            assert first["event"]["kind"] == "sources"
            house.runs.gate.set()
            events = [first["event"]]
            while events[-1]["kind"] != "done":
                events.append(json.loads(await socket.recv())["event"])
            for bad in ("[]", "not json", '{"type": "subscribe"}', '{"type":"subscribe","run_id":"x","after":-1}', "[" * 5000):
                await socket.send(bad)
                assert json.loads(await socket.recv())["type"] == "error"
            await socket.send(json.dumps({"type": "subscribe", "run_id": "run_none"}))
            assert json.loads(await socket.recv())["error"]["code"] == "not_found"
        assert events == await read_events(http, run_id)


async def test_anothers_run_is_not_to_be_followed(house: House) -> None:
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
    headers = {"Authorization": f"Bearer {secret('other')}"}
    async with websockets.connect(house.address.replace("http", "ws") + "/ws", additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
        assert json.loads(await socket.recv())["error"]["code"] == "not_found"


async def test_closing_ends_streams_at_once_and_says_where_to_resume(house: House) -> None:
    house.runs.hold_after = 1
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        headers = {"Authorization": f"Bearer {secret('owner')}"}
        async with websockets.connect(house.address.replace("http", "ws") + "/ws", additional_headers=headers) as socket:
            await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
            await socket.recv()
            reading = asyncio.create_task(read_events(http, run_id))
            await eventually(lambda: house.directory.open_streams.get("RunHost") == 2)
            house.app.state.edge.close()
            seen = await asyncio.wait_for(reading, 1)
            assert seen[-1]["kind"] != "done"
            last: dict[str, Any] = {}
            with contextlib.suppress(websockets.ConnectionClosed):
                async for message in socket:
                    last = json.loads(message)
            assert socket.close_code == 1012
            assert last["type"] == "closing"
            assert last["resume"][run_id] >= 2


def socket_of(house: House, key: str = "owner") -> Any:
    headers = {"Authorization": f"Bearer {secret(key)}"}
    return websockets.connect(house.address.replace("http", "ws") + "/ws", additional_headers=headers)


async def test_where_to_resume_is_what_went_out_not_what_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The closing word named events that were still in the outbox: a reader that resumed there lost them."""
    sent: list[int] = []
    whole_send = starlette.websockets.WebSocket.send_text

    async def stuck_after_two(self: Any, text: str) -> None:
        message = json.loads(text)
        if message["type"] == "event":
            if len(sent) == 2:
                await asyncio.Event().wait()
            sent.append(message["event"]["seq"])
        await whole_send(self, text)

    monkeypatch.setattr(starlette.websockets.WebSocket, "send_text", stuck_after_two)
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        async with socket_of(house) as socket:
            await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
            await eventually(lambda: len(sent) == 2)
            await eventually(lambda: house.directory.open_streams["RunHost"] == 0)  # all of the run is in the outbox
            house.app.state.edge.close()
            said = [json.loads(message) async for message in said_until_closed(socket)]
    assert said[-1] == {"type": "closing", "resume": {run_id: sent[-1]}}


async def said_until_closed(socket: Any) -> AsyncIterator[str]:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in socket:
            yield message


@contextlib.asynccontextmanager
async def brief_key(house: House, *scopes: str) -> AsyncIterator[tuple[httpx.AsyncClient, Any]]:
    """A client under a key of its own, and what revokes that key."""
    async with house.http() as owner:
        made = (await owner.post("/api/keys", json={"label": "brief", "scopes": scopes or ["read"]})).json()

        async def revoke() -> None:
            assert (await owner.delete(f"/api/keys/{made['key']['id']}")).status_code == 200

        headers = {"Authorization": f"Bearer {made['secret']}"}
        async with httpx.AsyncClient(base_url=house.address, headers=headers, timeout=20) as http:
            yield http, revoke


async def within_two_seconds(work: Any) -> Any:
    """A second is what a key is believed for; the other is for a busy machine."""
    return await asyncio.wait_for(work, 2)


async def test_a_revoked_key_ends_its_websockets_with_a_word_though_nothing_is_said_on_them(house: House) -> None:
    """An open socket outlived its key for as long as it was held open: first always, later where no event came."""
    house.runs.hold_after = 2
    async with house.http() as owner, brief_key(house) as (http, revoke):
        run_id = (await post(owner))["run"]["id"]
        async with websockets.connect(
            house.address.replace("http", "ws") + "/ws", additional_headers={"Authorization": http.headers["Authorization"]}
        ) as socket:
            await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
            assert json.loads(await socket.recv())["type"] == "event"
            await revoke()
            said = await within_two_seconds(read_socket(socket))
            assert (said[-1]["type"], said[-1]["error"]["code"]) == ("error", "unauthorized")
            assert socket.close_code == 1008


async def read_socket(socket: Any) -> list[dict[str, Any]]:
    return [json.loads(message) async for message in said_until_closed(socket)]


async def test_a_revoked_key_ends_its_event_stream_with_a_word_and_not_the_run(house: House) -> None:
    """A stream that was open went on to its end, whatever became of the key."""
    house.runs.hold_after = 1
    async with house.http() as owner, brief_key(house) as (http, revoke):
        run_id = (await post(owner))["run"]["id"]
        reading = asyncio.create_task(http.get(f"/api/runs/{run_id}/events"))
        await eventually(lambda: house.directory.open_streams.get("RunHost"))
        await revoke()
        text = (await within_two_seconds(reading)).text
        assert json.loads(text.strip().rpartition("\n: ")[2])["code"] == "unauthorized"
        await eventually(lambda: house.directory.open_streams["RunHost"] == 0)
        house.runs.gate.set()
        assert (await read_events(owner, run_id))[-1]["kind"] == "done"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_revoked_key_ends_the_bare_model_that_works_for_it(house: House, stream: bool) -> None:
    """The model went on for a key that was revoked, and its reader was told all of it."""
    house.language.reply, house.language.token_s = "word " * 5000, 0.01
    body = {"model": "tiny-language", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    async with brief_key(house) as (http, revoke):
        reading = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await eventually(lambda: house.language.running == 1)
        await revoke()
        answer = await within_two_seconds(reading)
    assert answer.status_code == (200 if stream else 401)
    error = json.loads(answer.text.strip().rpartition("data: ")[2])["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "unauthorized")
    assert "[DONE]" not in answer.text
    await eventually(lambda: house.language.running == 0, within_s=1)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_revoked_key_stops_the_run_behind_its_v1_answer(house: House, stream: bool) -> None:
    house.runs.hold_after = 1
    body = {"model": "perenne", "messages": [{"role": "user", "content": "When?"}], "stream": stream}
    async with brief_key(house, "read", "write") as (http, revoke):
        reading = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await eventually(lambda: house.directory.open_streams.get("RunHost"))
        await revoke()
        answer = await within_two_seconds(reading)
    assert json.loads(answer.text.strip().rpartition("data: ")[2])["error"]["code"] == "unauthorized"
    await eventually(lambda: house.runs.stopped == house.runs.started)
    house.runs.gate.set()


async def test_a_subscription_that_is_refused_leaves_the_one_there_is(house: House) -> None:
    """A second subscribe with a bad number ended the first, and the refusal named no run."""
    house.runs.hold_after = 1
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        async with socket_of(house) as socket:
            await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
            while json.loads(await socket.recv())["event"]["kind"] != "delta":
                pass
            await socket.send(json.dumps({"type": "subscribe", "run_id": run_id, "after": -1}))
            refused = json.loads(await socket.recv())
            assert (refused["type"], refused["run_id"]) == ("error", run_id)
            house.runs.gate.set()
            assert json.loads(await asyncio.wait_for(socket.recv(), 5))["event"]["kind"] == "delta"


async def test_a_binary_message_is_answered_and_the_socket_goes_on(house: House) -> None:
    """It ended the socket without a word."""
    async with socket_of(house) as socket:
        await socket.send(b"\x00\xff")
        assert json.loads(await socket.recv())["type"] == "error"
        await socket.send('{"type": "ping"}')
        assert json.loads(await socket.recv()) == {"type": "pong"}


class Broken:
    """An owner with a fault of its own: what it raises is no error of ours."""

    async def follow(self, run_id: str, user_id: str, after: int) -> AsyncIterator[RunEvent]:
        yield RunEvent(run_id=run_id, seq=after, kind="heartbeat", data={})
        raise KeyError("a fault")

    async def stream(self, request: Any) -> AsyncIterator[GenerateChunk]:
        yield GenerateChunk(text="Once ")
        raise KeyError("a fault")


async def test_no_stream_ends_without_a_word_when_an_owner_has_a_fault(house: House) -> None:
    """Only errors of ours were told; another one cut the stream, and a WebSocket heard nothing at all."""
    async with house.http() as http:
        run_id = (await post(http))["run"]["id"]
        house.directory.put("RunHost", Broken())
        house.directory.put("language", Broken())
        events = await http.get(f"/api/runs/{run_id}/events")
        assert '"code":"internal"' in events.text.rpartition(": {")[2]
        async with socket_of(house) as socket:
            await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
            said = json.loads(await socket.recv())
            assert (said["type"], said["run_id"], said["error"]["code"]) == ("error", run_id, "internal")
        body = {"model": "tiny-language", "messages": [{"role": "user", "content": "x"}], "stream": True}
        bare = await http.post("/v1/chat/completions", json=body)
        grounded = await http.post("/v1/chat/completions", json={**body, "model": "perenne"})
    for answer in (bare, grounded):
        last = json.loads(answer.text.strip().rpartition("data: ")[2])
        assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "internal")


async def test_a_v1_stream_cut_by_a_restart_says_so(house: House) -> None:
    """It ended as if the answer were whole: no [DONE], and no error either."""
    house.language.reply, house.language.token_s = "word " * 1000, 0.05
    body = {"model": "tiny-language", "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with house.http() as http:
        reading = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await eventually(lambda: house.language.running == 1)
        house.app.state.edge.close()
        text = (await asyncio.wait_for(reading, 6)).text
    assert json.loads(text.strip().rpartition("data: ")[2])["error"]["code"] == "unavailable"
    await eventually(lambda: house.language.running == 0)


async def test_a_v1_stream_that_is_nearly_done_ends_whole_though_the_replica_ends(house: House) -> None:
    house.language.reply, house.language.token_s = "word " * 10, 0.05
    body = {"model": "tiny-language", "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with house.http() as http:
        reading = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        await eventually(lambda: house.language.running == 1)
        house.app.state.edge.close()
        assert (await asyncio.wait_for(reading, 6)).text.endswith("data: [DONE]\n\n")


async def test_a_websocket_too_many_is_a_503_and_one_without_a_key_a_401(tmp_path: Path) -> None:
    """Open sockets were counted nowhere; every refusal was a bare 403."""
    async with house_in(tmp_path, sockets_max=2) as house:
        async with socket_of(house), socket_of(house), house.http() as http:
            with pytest.raises(websockets.InvalidStatus) as refused:
                await socket_of(house)
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "1"
            assert (await http.get("/api/me")).status_code == 200, "requests are counted apart"
        with pytest.raises(websockets.InvalidStatus) as unknown:
            await socket_of(house, "nobody")
        assert unknown.value.response.status_code == 401
    async with house_in(tmp_path / "slow", requests_per_minute=2) as house:
        async with socket_of(house), socket_of(house):
            with pytest.raises(websockets.InvalidStatus) as too_fast:
                await socket_of(house)
        assert too_fast.value.response.status_code == 429
