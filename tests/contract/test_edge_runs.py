"""Questions and their answers: durable runs, resumed streams, stopped ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from perenne.api import decode
from perenne.http_api import HttpPerenne
from perenne.messages.models import GenerateChunk
from perenne.messages.records import RunEvent
from perenne.testing import eventually
from tests.contract.edge_house import House, secret
from tests.contract.run_reading import post, read_events, socket_of


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
            while (said := json.loads(await socket.recv()))["type"] == "event":
                pass  # what the run has said is in the database
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
