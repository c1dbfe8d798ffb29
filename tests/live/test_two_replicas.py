"""Two replicas of the edge: sockets of both are told of each change once, also of those made while one of the two is killed."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import psutil
import pytest
import websockets

from tests.live.running import RunningInstance
from tests.live.test_sockets import http_of, new_conversation

SIGN = "ray::ServeReplica:edge"
MANY, AT_EACH = 30, 3  # sockets; they are opened until each replica has taken so many connections


@pytest.fixture
def instance() -> Iterator[RunningInstance]:
    running = RunningInstance()
    (running.home / "config.yaml").write_text("edge: {replicas: 2}\n")
    try:
        running.start()
        assert running.until(lambda: len(running.pids_of(SIGN)) == 2 and all(map(_listens, running.pids_of(SIGN))), 60)
        yield running
    finally:
        running.close()


def _listens(pid: int) -> bool:
    return any(each.status == psutil.CONN_LISTEN for each in psutil.Process(pid).net_connections("tcp"))


def taken(pid: int) -> set[tuple[str, int]]:
    """The far ends of the connections that a replica has taken: HAProxy's, one for each WebSocket that is open through it."""
    found = psutil.Process(pid).net_connections("tcp")
    ports = {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}
    return {(each.raddr.ip, each.raddr.port) for each in found if each.raddr and each.laddr.port in ports}


class Listener:
    """Follows all changes through sockets that break, from the last number that it saw on; `seqs` is all that it was told."""

    def __init__(self, instance: RunningInstance) -> None:
        self.seqs: list[int] = []
        self.ids: list[str] = []
        self.sockets = 0
        self.watching = asyncio.Event()
        self._instance = instance

    async def follow(self) -> None:
        headers = {"Authorization": f"Bearer {self._instance.key}"}
        where: dict[str, object] = {}
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(
                    self._instance.address.replace("http", "ws") + "/ws", additional_headers=headers
                ) as socket:
                    await socket.send(json.dumps({"type": "watch", **where}))
                    async for text in socket:
                        told = json.loads(text)
                        if told["type"] == "watching":
                            assert told["complete"]
                            where = where or {"origin": told["origin"], "after": told["after"]}
                            self.sockets += 1
                            self.watching.set()
                        elif told["type"] == "change":
                            self.seqs.append(told["change"]["seq"])
                            self.ids.append(told["change"]["id"])
                            where["after"] = self.seqs[-1]
            await asyncio.sleep(0.1)


async def test_each_change_comes_once_to_the_sockets_of_both_and_one_may_be_killed(instance: RunningInstance) -> None:
    pids = instance.pids_of(SIGN)
    grew = dict.fromkeys(pids, 0)
    listeners: list[Listener] = []
    async with AsyncExitStack() as stack, http_of(instance) as http:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks: list[asyncio.Task[None]] = []
        stack.callback(lambda: [task.cancel() for task in tasks])  # before the group waits for them
        while min(grew.values()) < AT_EACH:
            assert len(listeners) < MANY, grew
            before = {pid: taken(pid) for pid in pids}
            listeners.append(Listener(instance))
            tasks.append(group.create_task(listeners[-1].follow()))
            async with asyncio.timeout(20):
                await listeners[-1].watching.wait()
            for pid in pids:
                grew[pid] += bool(taken(pid) - before[pid])

        async def told(made: list[str]) -> None:
            async with asyncio.timeout(60):
                while not all(made[-1] in each.ids for each in listeners):
                    await asyncio.sleep(0.05)
            seen = [each.seqs[: each.ids.index(made[-1]) + 1] for each in listeners]
            assert seen[0] == sorted(set(seen[0]))
            assert all(seqs == seen[0] for seqs in seen)
            assert all([id for id in each.ids if id in made] == made for each in listeners)

        made = [await new_conversation(http) for _ in range(5)]
        await told(made)
        assert all(each.sockets == 1 for each in listeners)

        os.kill(pids[0], signal.SIGKILL)
        made += [await new_conversation(http) for _ in range(5)]
        await told(made)
        broken = [each for each in listeners if each.sockets > 1]  # those of the killed one; the others' go on as they were
        assert 0 < len(broken) < len(listeners), [each.sockets for each in listeners]
