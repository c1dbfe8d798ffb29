"""The edge is deployed anew while clients read: Serve drains the old replica and puts another in its place."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import websockets

from perenne.api import Perenne
from perenne.client import connect
from perenne.messages.records import RunOptions
from perenne.testing import eventually
from tests.live.running import ROOT, RunningInstance

LONG = RunOptions(grounded=False, max_tokens=700, seed=7, temperature=0.0)
QUESTION = "Write a very long story about a lighthouse. Then count to five hundred in words."
# As the Supervisor does it: another configuration is another version, which Serve rolls out.
REDEPLOY = """
import os, time
from cluster.environment import head_environment
from cluster.instance import read_instance
from perenne.settings import load_settings
settings = load_settings()
instance = read_instance(settings.home)
os.environ.update(head_environment(settings, instance.ports))
import ray
ray.init(address=instance.ray_address, namespace="perenne", log_to_driver=False, logging_level="ERROR")
from cluster import applications
from cluster.tree import build_tree
print("joined", flush=True)
input()
edge = settings.edge.model_copy(update={"requests_per_minute": settings.edge.requests_per_minute + 1 + time.time_ns() % 1000})
applications.deploy([child for child in build_tree(settings) if child.route], settings.model_copy(update={"edge": edge}))
"""


def joined(instance: RunningInstance) -> subprocess.Popen[str]:
    """A driver that will deploy the edge anew at a line on its standard input."""
    driver = subprocess.Popen(
        [sys.executable, "-c", REDEPLOY],
        env=instance.environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "joined\n"
    return driver


async def told_by_socket(instance: RunningInstance, run_id: str) -> list[dict[str, Any]]:
    """All that a WebSocket says of a run until it is closed."""
    headers = {"Authorization": f"Bearer {instance.key}"}
    said: list[dict[str, Any]] = []
    async with websockets.connect(instance.address.replace("http", "ws") + "/ws", additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
        try:
            async for message in socket:
                said.append(json.loads(message))
        except websockets.ConnectionClosed:
            pass
        assert socket.close_code == 1012
    return said


async def told_by_stream(instance: RunningInstance, run_id: str) -> list[str]:
    """The lines of one stream of events, to its end, whichever that is."""
    headers = {"Authorization": f"Bearer {instance.key}"}
    async with (
        httpx.AsyncClient(base_url=instance.address, headers=headers, timeout=60) as http,
        http.stream("GET", f"/api/runs/{run_id}/events") as stream,
    ):
        return [line async for line in stream.aiter_lines()]


async def told_by_v1(instance: RunningInstance) -> str:
    """The last line of a streamed completion that is too long to end in time."""
    length = {"max_tokens": 2000, "temperature": 0.0, "seed": 7}
    body = {"model": "language", "stream": True, "messages": [{"role": "user", "content": QUESTION}], **length}
    headers = {"Authorization": f"Bearer {instance.key}"}
    async with (
        httpx.AsyncClient(base_url=instance.address, headers=headers, timeout=120) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as stream,
    ):
        return [line async for line in stream.aiter_lines() if line][-1]


async def followed(api: Perenne, run_id: str, seqs: list[int]) -> None:
    async for event in api.events(run_id):
        seqs.append(event.seq)


async def knocking(instance: RunningInstance, over: asyncio.Event) -> list[int]:
    """The statuses that ever new connections were given; a connection that is refused or cut fails the test."""
    statuses: list[int] = []
    while not over.is_set():
        async with httpx.AsyncClient(base_url=instance.address, timeout=30, trust_env=False) as http:
            answer = await http.get("/livez")
        statuses.append(answer.status_code)
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["error"]["code"] == "unavailable"
        await asyncio.sleep(0.02)
    return statuses


def test_haproxy_runs_with_what_is_set_for_long_streams_and_reloads(instance: RunningInstance) -> None:
    """docs/edge.md says why; another version of Ray may have another template."""
    (path,) = (Path(instance.settings.ray_dir) / "h").rglob("haproxy.cfg")

    def lines_now() -> list[str]:
        return [" ".join(line.split()) for line in path.read_text().splitlines()]

    # Ray writes its own, then starts a process by our wrapper, which changes it: in between it lies there as it came.
    assert instance.until(lambda: "timeout http-request 10s" in lines_now(), 10), "the wrapper has not changed it"
    lines = lines_now()
    for wanted in (
        "hard-stop-after 3600s", "timeout client 3600s", "option http-no-delay", "retry-on conn-failure",
        f"bind 127.0.0.1:{instance.port}",
    ):  # fmt: skip
        assert wanted in lines, wanted
    assert any(line.startswith("stats socket ") and line.endswith("expose-fd listeners") for line in lines), (
        "reloads refuse connections"
    )
    for line in lines:
        assert not line.startswith(("timeout server", "timeout tunnel", "option splice-request")), line
        assert ":514" not in line


async def test_a_redeploy_of_the_edge_says_so_to_every_stream_and_loses_no_event(instance: RunningInstance) -> None:
    """Serve told nobody: it waited for the open streams, then killed the replica under them, and all fell silent."""
    instance.await_ready()
    driver = joined(instance)
    before = set(instance.pids_of("ray::ServeReplica:edge"))
    async with connect(instance.address, key=instance.key) as api:
        posted = await api.post(QUESTION, options=LONG)
        run_id, seqs = posted.run.id, list[int]()
        over = asyncio.Event()
        knocks = asyncio.create_task(knocking(instance, over))
        async with asyncio.TaskGroup() as readers:
            reading = readers.create_task(followed(api, run_id, seqs))
            socket = readers.create_task(told_by_socket(instance, run_id))
            stream = readers.create_task(told_by_stream(instance, run_id))
            bare = readers.create_task(told_by_v1(instance))
            await eventually(lambda: len(seqs) > 5, within_s=60)
            assert not reading.done(), "the answer ended before the redeploy"
            await asyncio.to_thread(driver.communicate, "go\n", 60)
            assert driver.returncode == 0
        assert seqs == [event.seq async for event in api.events(run_id)], "not each event once and in order"
    closing = socket.result()[-1]
    assert closing["type"] == "closing"
    assert closing["resume"][run_id] == [m["event"]["seq"] for m in socket.result() if m["type"] == "event"][-1]
    assert any(line.startswith(": {") and "it is restarting" in line for line in stream.result())
    assert not any(line == "event: done" for line in stream.result())
    assert json.loads(bare.result().removeprefix("data: "))["error"]["code"] == "unavailable"
    assert await asyncio.to_thread(instance.until, lambda: not before & set(instance.pids_of("ray::ServeReplica:edge")), 30)
    await asyncio.to_thread(instance.await_ready)
    over.set()
    statuses = await knocks
    assert set(statuses) <= {200, 503}
    assert statuses[-1] == 200
