"""Changes told over WebSockets through HAProxy and Serve: to every socket at once, and on through the death of the replica."""

import asyncio
import contextlib
import json
import os
import signal
from contextlib import AsyncExitStack, aclosing
from typing import Any

import httpx
import websockets

from perenne.client import connect
from tests.live.running import RunningInstance, mark_of_run

MANY = 24


async def new_conversation(http: httpx.AsyncClient) -> str:
    """Its id, once it is made: the replica may die with the question, or be on its way back. Asked again, it is made once."""
    headers = {"Idempotency-Key": mark_of_run()}
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.post("/api/conversations", json={"title": "x"}, headers=headers)
                if answer.status_code != 503:
                    return answer.raise_for_status().json()["id"]
            await asyncio.sleep(0.2)


def http_of(instance: RunningInstance) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(retries=5)
    headers = {"Authorization": f"Bearer {instance.key}"}
    return httpx.AsyncClient(base_url=instance.address, headers=headers, timeout=60, transport=transport)


async def told(socket: Any, id: str) -> list[int]:
    """The numbers of the changes up to that of this thing."""
    seqs: list[int] = []
    async with asyncio.timeout(60):
        async for text in socket:
            change = json.loads(text)["change"]
            seqs.append(change["seq"])
            if change["id"] == id:
                return seqs
    raise AssertionError("it was closed")


async def test_every_socket_is_told_of_every_change(instance: RunningInstance) -> None:
    headers = {"Authorization": f"Bearer {instance.key}"}
    async with AsyncExitStack() as stack, http_of(instance) as http:
        held: list[Any] = []
        for _ in range(MANY):
            opening = websockets.connect(instance.address.replace("http", "ws") + "/ws", additional_headers=headers)
            held.append(await stack.enter_async_context(opening))
            await held[-1].send('{"type": "watch"}')
            assert json.loads(await held[-1].recv())["type"] == "watching"
        made = [await new_conversation(http) for _ in range(5)]
        seqs = await asyncio.gather(*(told(socket, made[-1]) for socket in held))
        assert len(seqs[0]) >= len(made)
        assert all(each == seqs[0] for each in seqs)


async def test_a_client_misses_nothing_when_the_replica_is_killed(instance: RunningInstance) -> None:
    async with connect(instance.address, key=instance.key) as client, http_of(instance) as http:
        async with aclosing(client.changes()) as changes:
            assert (await anext(changes)).op == "start"
            made = [await new_conversation(http)]
            seen = [(await anext(changes)).id]
            for pid in instance.pids_of("ray::ServeReplica:edge"):
                os.kill(pid, signal.SIGKILL)
            made += [await new_conversation(http) for _ in range(3)]
            async with asyncio.timeout(60):
                while made[-1] not in seen:
                    change = await anext(changes)
                    if change.entity == "conversation":
                        seen.append(change.id)
            assert seen == made
    await asyncio.to_thread(instance.await_ready)
