"""A key that is revoked ends what is under way for it, within a second and with a word."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets

from perenne.testing import eventually
from tests.contract.edge_house import House
from tests.contract.run_reading import post, read_events, said_until_closed


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
