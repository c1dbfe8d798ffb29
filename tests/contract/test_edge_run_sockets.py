"""Runs over WebSockets: who gets one, what it carries, and how it ends."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import starlette.websockets
import websockets

from perenne.testing import eventually
from tests.contract.edge_house import House, house_in, secret
from tests.contract.run_reading import post, read_events, said_until_closed, socket_of


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
