"""Many sockets on one replica: what they follow is followed once, what they miss they get when they come again, and who reads too
slowly holds up nobody."""

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

import serve.channels
import serve.sockets
from perenne import names
from perenne.actor_api import ActorPerenne
from perenne.api import Perenne
from perenne.client import connect
from perenne.errors import Forbidden, Unauthorized
from perenne.ids import new_id
from perenne.messages.commands import RevokeKey
from perenne.messages.records import Change
from perenne.testing import eventually
from tests.contract.edge_house import House, house_in, secret

MANY = 20


def opened(house: House, key: str = "owner", **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {secret(key)}"}
    return websockets.connect(house.address.replace("http", "ws") + "/ws", additional_headers=headers, max_size=None, **options)


async def say(socket: Any, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def hear(socket: Any) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(socket.recv(), 10))


async def watching(socket: Any, **more: Any) -> dict[str, Any]:
    await say(socket, type="watch", **more)
    said = await hear(socket)
    assert said["type"] == "watching", said
    return said


async def posted(http: httpx.AsyncClient) -> str:
    answer = await http.post(f"/api/conversations/{new_id('cnv')}/messages", json={"text": "When?"})
    return answer.raise_for_status().json()["run"]["id"]


async def new_conversation(http: httpx.AsyncClient, title: str = "x") -> str:
    return (await http.post("/api/conversations", json={"title": title})).raise_for_status().json()["id"]


async def whole_run(socket: Any) -> list[int]:
    """The numbers of a run's events to its end."""
    seqs: list[int] = []
    while True:
        event = (await hear(socket))["event"]
        seqs.append(event["seq"])
        if event["kind"] == "done":
            return seqs


async def ids_until(socket: Any, last: str) -> list[str]:
    """The conversations that are told of, up to that one."""
    ids: list[str] = []
    while last not in ids:
        said = await hear(socket)
        assert said["type"] == "change", said
        ids.append(said["change"]["id"])
    return ids


async def test_a_run_is_followed_once_and_each_event_is_encoded_once_for_all_sockets(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    whole = serve.channels.event_item

    def counted(event: Any) -> Any:
        encoded.append(event.seq)
        return whole(event)

    monkeypatch.setattr(serve.channels, "event_item", counted)
    house.runs.hold_after = 0
    async with house.http() as http, contextlib.AsyncExitStack() as stack:
        run_id = await posted(http)
        await eventually(lambda: house.runs.started)
        held = [await stack.enter_async_context(opened(house)) for _ in range(MANY)]
        for socket in held:
            await say(socket, type="subscribe", run_id=run_id)
            assert (await hear(socket))["event"]["kind"] == "sources"
        assert house.directory.open_streams[names.RUN_HOST] == 1
        encoded.clear()
        house.runs.gate.set()
        told = await asyncio.gather(*(whole_run(socket) for socket in held))
        assert told[0] == list(range(3, 9))
        assert all(each == told[0] for each in told)
        assert encoded == told[0]
    await eventually(lambda: house.directory.open_streams[names.RUN_HOST] == 0)
    await eventually(lambda: len(house.app.state.edge.channels) == 0)


async def test_who_comes_late_gets_what_was_before_and_what_comes_each_once(house: House) -> None:
    house.runs.hold_after = 2
    async with house.http() as http:
        run_id = await posted(http)
        async with opened(house) as first, opened(house) as second, opened(house) as third:
            await say(first, type="subscribe", run_id=run_id, after=3)
            assert (await hear(first))["event"]["seq"] == 4  # followed from there on: what is before is not held
            await say(second, type="subscribe", run_id=run_id)
            await say(third, type="subscribe", run_id=run_id, after=4)
            house.runs.gate.set()
            assert await asyncio.gather(*map(whole_run, (first, second, third))) == [
                [5, 6, 7, 8],
                [2, 3, 4, 5, 6, 7, 8],
                [5, 6, 7, 8],
            ]


async def test_a_change_reaches_every_socket_of_its_user_and_no_other_ones(house: House) -> None:
    async with house.http() as http, house.http("other") as others, contextlib.AsyncExitStack() as stack:
        own = [await stack.enter_async_context(opened(house, key)) for key in ("owner", "reader", "owner")]
        other = await stack.enter_async_context(opened(house, "other"))
        for socket in (*own, other):
            await watching(socket)
        assert house.directory.open_streams[names.STORE_WRITER] == 2  # one a user
        mine, theirs = await new_conversation(http), await new_conversation(others)
        run = (await http.post(f"/api/conversations/{mine}/messages", json={"text": "When?"})).json()["run"]["id"]
        await eventually(lambda: house.runs.started)
        last = await new_conversation(http)
        for socket in own:
            seen = [await hear(socket)]
            while seen[-1]["change"]["id"] != last:
                seen.append(await hear(socket))
            changes = [each["change"] for each in seen]
            assert {each["entity"] for each in changes} >= {"conversation", "message", "run"}
            assert changes[0]["op"] == "insert"
            assert theirs not in {each["id"] for each in changes}
            assert {each["conversation_id"] for each in changes if each["id"] == run} == {mine}
            assert [each["seq"] for each in changes] == sorted({each["seq"] for each in changes})
        last_of_theirs = await new_conversation(others)
        assert await ids_until(other, last_of_theirs) == [theirs, last_of_theirs]


async def test_a_key_of_one_project_may_not_watch_but_follows_its_runs(house: House) -> None:
    async with opened(house, "bound") as socket:
        await say(socket, type="watch")
        said = await hear(socket)
        assert (said["type"], said["error"]["code"]) == ("error", "forbidden")
        await say(socket, type="ping")
        assert (await hear(socket))["type"] == "pong"


@pytest.mark.parametrize("wrong", [{"after": -1}, {"after": "1"}, {"after": True}, {"origin": 7}])
async def test_a_watch_that_makes_no_sense_is_refused_and_leaves_the_one_there_is(house: House, wrong: dict[str, Any]) -> None:
    async with house.http() as http, opened(house) as socket:
        await watching(socket)
        await say(socket, type="watch", **wrong)
        assert (await hear(socket))["error"]["code"] == "invalid_request"
        made = await new_conversation(http)
        assert await ids_until(socket, made) == [made]


async def test_changes_resume_where_a_socket_ended_and_say_when_that_is_not_known(house: House) -> None:
    async with house.http() as http:
        async with opened(house) as socket:
            origin = (await watching(socket))["origin"]
            await new_conversation(http)
            seen = (await hear(socket))["change"]["seq"]
        missed = [await new_conversation(http) for _ in range(3)]
        async with opened(house) as socket:
            said = await watching(socket, after=seen, origin=origin)
            assert (said["after"], said["complete"]) == (seen, True)
            assert await ids_until(socket, missed[-1]) == missed
            await say(socket, type="unwatch")
            await say(socket, type="ping")
            assert (await hear(socket))["type"] == "pong"
            await new_conversation(http)
            await say(socket, type="ping")
            assert (await hear(socket))["type"] == "pong", "nothing is told after unwatch"
            beyond = await watching(socket, after=1 << 40)
            assert not beyond["complete"]
            assert beyond["after"] > seen
            restored = await watching(socket, after=seen, origin="another")
            assert not restored["complete"]


async def test_changes_go_on_through_the_death_of_the_writer(house: House) -> None:
    async with house.http() as http, opened(house) as socket:
        await watching(socket)
        writer = house.directory._owners[names.STORE_WRITER]
        house.directory.kill(names.STORE_WRITER)
        await eventually(lambda: house.directory.open_streams[names.STORE_WRITER] == 0)
        house.directory.put(names.STORE_WRITER, writer)
        made = [await new_conversation(http) for _ in range(3)]
        assert await ids_until(socket, made[-1]) == made


@contextlib.asynccontextmanager
async def unread(house: House) -> AsyncIterator[Any]:
    """A socket whose reader takes almost nothing until it is asked to."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", int(house.address.rpartition(":")[2])))
    async with opened(house, sock=raw, max_queue=1, compression=None, ping_interval=None, close_timeout=1) as socket:
        yield socket


async def test_a_reader_that_is_too_slow_is_closed_with_1013_holds_up_nobody_and_misses_nothing(tmp_path: Path) -> None:
    async with house_in(tmp_path, socket_queue=16, socket_behind_s=2.0) as house, house.http() as http:
        house.runs.text = " ".join("x" * 100_000 for _ in range(120))  # beyond what the kernel holds for it
        house.runs.hold_after = 1
        run_id = await posted(http)
        async with unread(house) as slow, opened(house, compression=None) as quick:
            for socket in (slow, quick):
                await say(socket, type="subscribe", run_id=run_id)
                assert (await hear(socket))["event"]["kind"] == "sources"
            house.runs.gate.set()
            whole = await whole_run(quick)
            assert whole == list(range(3, 124))
            await eventually(lambda: len(house.app.state.edge.channels) == 0, within_s=10)
            seen = [json.loads(text)["event"]["seq"] async for text in until_closed(slow)]
            assert (slow.close_code, str(slow.close_reason).partition(":")[0]) == (1013, "too slow")
            assert seen == whole[: len(seen)]
            assert len(seen) < len(whole)
        async with opened(house, compression=None) as again:
            await say(again, type="subscribe", run_id=run_id, after=seen[-1])
            assert seen + await whole_run(again) == whole


async def test_a_reader_that_takes_nothing_is_closed_however_little_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve.sockets, "SEND_WITHIN_S", 0.3)
    monkeypatch.setattr(serve.sockets, "CLOSE_WITHIN_S", 0.3)
    async with house_in(tmp_path, socket_queue_bytes=1 << 30) as house, house.http() as http, unread(house) as slow:
        house.runs.text = " ".join("x" * 1_000_000 for _ in range(20))
        await say(slow, type="subscribe", run_id=await posted(http))
        await eventually(lambda: house.app.state.edge.sockets.total() == 1)
        await eventually(lambda: house.app.state.edge.sockets.total() == 0, within_s=20)


async def test_what_is_stored_is_given_at_the_pace_of_its_reader_however_much_it_is(tmp_path: Path) -> None:
    async with house_in(tmp_path, socket_queue=2, socket_queue_bytes=1000) as house, house.http() as http:
        house.runs.text = "word " * 200
        run_id = await posted(http)
        await eventually(lambda: house.runs.started)
        async with opened(house) as socket:
            await say(socket, type="subscribe", run_id=run_id)
            assert len(await whole_run(socket)) > 0
        async with opened(house) as socket:
            await say(socket, type="subscribe", run_id=run_id)
            assert await whole_run(socket) == list(range(2, 204))


async def test_one_key_holds_so_many_sockets_and_no_more(tmp_path: Path) -> None:
    async with house_in(tmp_path, sockets_per_key=2) as house:
        async with opened(house), opened(house), opened(house, "reader"):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await opened(house)
            assert refused.value.response.status_code == 429
            assert "this key holds 2 WebSockets" in json.loads(refused.value.response.body)["error"]["message"]
            assert "Retry-After" in refused.value.response.headers
        await eventually(lambda: house.app.state.edge.sockets.total() == 0)
        async with opened(house):
            pass


async def until_closed(socket: Any) -> AsyncIterator[str]:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for text in socket:
            yield text


class Relay:
    """What lies between a client and the edge, and can be cut."""

    def __init__(self, port: int) -> None:
        self._port, self.came = port, 0
        self._open: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        there, onward = await asyncio.open_connection("127.0.0.1", self._port)
        self._open += [writer, onward]
        await asyncio.gather(self._pass(reader, onward), self._pass(there, writer))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                target.write(piece)
                await target.drain()
        target.close()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()


@contextlib.asynccontextmanager
async def followed(client: Perenne, **place: Any) -> AsyncIterator[Any]:
    async with contextlib.aclosing(client.changes(**place)) as changes:

        async def next_one() -> Change:
            return await asyncio.wait_for(anext(changes), 20)

        yield next_one


async def test_the_client_follows_changes_through_cut_connections_each_once(house: House) -> None:
    relay = Relay(int(house.address.rpartition(":")[2]))
    between = await asyncio.start_server(relay, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{between.sockets[0].getsockname()[1]}"
    async with house.http() as http, connect(address, key=secret("owner")) as client:
        async with followed(client) as change:
            start = await change()
            assert (start.entity, start.op) == ("feed", "start")
            made: list[str] = []
            seen: list[str] = []
            for _ in range(3):
                made += [await new_conversation(http) for _ in range(3)]
                seen.append((await change()).id)
                relay.cut()
            made.append(await new_conversation(http))
            while seen[-1] != made[-1]:
                seen.append((await change()).id)
            assert seen == made
            assert relay.came > 1
        async with followed(client, after=start.seq, origin=start.id) as change:
            assert (await change()).id == made[0]
        async with followed(client, after=start.seq, origin="another") as change:
            assert (await change()).op == "reset"
    between.close()


async def test_the_client_inside_follows_the_same_changes(house: House) -> None:
    client = ActorPerenne(house.directory, user_id="owner")
    async with house.http() as http, house.http("other") as others:
        async with followed(client) as change:
            start = await change()
            assert (start.entity, start.op) == ("feed", "start")
            await new_conversation(others)
            made = [await new_conversation(http) for _ in range(2)]
            assert [(await change()).id for _ in made] == made
        async with followed(client, after=start.seq, origin=start.id) as change:
            assert (await change()).id == made[0]
        async with followed(client, after=start.seq, origin="another") as change:
            assert (await change()).op == "reset"


async def test_the_client_says_why_it_may_not_follow_changes(house: House) -> None:
    async with connect(house.address, key="pk_nobody") as client, followed(client) as change:
        with pytest.raises(Unauthorized):
            await change()
    async with connect(house.address, key=secret("bound")) as client, followed(client) as change:
        with pytest.raises(Forbidden):
            await change()
    async with connect(house.address, key=secret("reader")) as client, followed(client) as change:
        assert (await change()).op == "start"
        await house.store.write(RevokeKey(command_id=new_id("cmd"), user_id="owner", key_id="key_reader"))
        with pytest.raises(Unauthorized):
            await change()
