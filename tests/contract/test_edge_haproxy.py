"""The packaged HAProxy, started by our wrapper as Ray starts it, before the edge: streams longer than its timeouts, and reloads."""

import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets

from perenne.ids import new_id
from perenne.testing import eventually
from tests.contract.edge_house import House, free_port, secret

WRAPPER = Path(__file__).resolve().parents[2] / "serve" / "haproxy-loopback"
SAID = {"Authorization": f"Bearer {secret('owner')}"}
TIMEOUT_S = 2  # an hour in an instance
IDLE_S = 3 * TIMEOUT_S
# What matters here of the template of Ray 2.60 (ray/serve/_private/haproxy_templates.py); tests/live looks at the one that is in use.
CONFIGURATION = """global
    stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners
    maxconn 4096
    nbthread 1
    hard-stop-after 3600s
defaults
    mode http
    timeout connect 5s
    timeout client {timeout}s
    timeout server {timeout}s
    option splice-request
    option splice-response
    option redispatch 1
    option http-no-delay
    option idle-close-on-response
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend edge
backend edge
    http-reuse always
    server one {server} check inter 250ms
"""


class Proxy:
    """HAProxy before a house. `reload` puts a new process in its place as Ray's manager does: the old one ends with its streams."""

    def __init__(self, server: str) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="ph-", dir="/tmp")), free_port()
        self._file = self.folder / "haproxy.cfg"
        self._server = server
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        self._file.write_text(CONFIGURATION.format(folder=self.folder, timeout=TIMEOUT_S, port=self.port, server=self._server))
        log = (self.folder / "log").open("ab")
        self.processes.append(subprocess.Popen([str(WRAPPER), "-db", "-f", str(self._file), *more], stdout=log, stderr=log))

    def reload(self) -> None:
        self.start("-sf", str(self.processes[-1].pid), "-x", str(self.folder / "admin.sock"))

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder)


async def is_up(address: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(f"{address}/livez")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
async def proxy(house: House) -> AsyncIterator[Proxy]:
    proxy = Proxy(house.address.removeprefix("http://"))
    try:
        proxy.start()
        await eventually(lambda: is_up(proxy.address), within_s=10)
        yield proxy
    finally:
        proxy.close()


async def begun(house: House, proxy: Proxy) -> str:
    """A run that says two words and then nothing until `house.runs.gate` opens."""
    house.runs.hold_after = 2
    async with httpx.AsyncClient(base_url=proxy.address, headers=SAID, trust_env=False) as http:
        posted = await http.post(f"/api/conversations/{new_id('cnv')}/messages", json={"text": "When?", "project": "default"})
        return posted.raise_for_status().json()["run"]["id"]


async def numbers_of_stream(proxy: Proxy, run_id: str) -> list[int]:
    """The sequence numbers of one connection, to the run's end."""
    seqs: list[int] = []
    async with (
        httpx.AsyncClient(base_url=proxy.address, headers=SAID, timeout=60, trust_env=False) as http,
        http.stream("GET", f"/api/runs/{run_id}/events") as stream,
    ):
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                seqs.append(int(line.removeprefix("id: ")))
    return seqs


async def numbers_of_socket(proxy: Proxy, run_id: str) -> list[int]:
    seqs: list[int] = []
    address = proxy.address.replace("http", "ws") + "/ws"
    async with websockets.connect(address, additional_headers=SAID, ping_interval=1.0, proxy=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "run_id": run_id}))
        async for message in socket:
            said = json.loads(message)
            if said["type"] == "event":
                seqs.append(said["event"]["seq"])
                if said["event"]["kind"] == "done":
                    return seqs
    raise AssertionError(f"the socket closed after {seqs}")


async def whole(house: House, run_id: str) -> list[int]:
    events = await house.store.read("run_events", user_id="owner", run_id=run_id, after=0, limit=100)
    return [event.seq for event in events if event.kind != "step"]


async def test_a_stream_and_a_socket_that_have_nothing_to_say_outlive_the_proxys_timeouts(house: House, proxy: Proxy) -> None:
    run_id = await begun(house, proxy)
    async with asyncio.TaskGroup() as readers:
        stream = readers.create_task(numbers_of_stream(proxy, run_id))
        socket = readers.create_task(numbers_of_socket(proxy, run_id))
        await asyncio.sleep(IDLE_S)
        assert not stream.done()
        assert not socket.done()
        house.runs.gate.set()
    assert stream.result() == socket.result() == await whole(house, run_id)


async def test_without_a_sign_of_life_the_proxy_does_cut(house: House, proxy: Proxy) -> None:
    """What the heartbeats are for; it shows that the test above would fail without them."""
    async with websockets.connect(
        proxy.address.replace("http", "ws") + "/ws", additional_headers=SAID, ping_interval=None, proxy=None
    ) as socket:
        async with asyncio.timeout(IDLE_S):
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()


async def test_a_reload_cuts_no_stream_and_refuses_no_new_connection(house: House, proxy: Proxy) -> None:
    run_id, over, statuses = await begun(house, proxy), asyncio.Event(), list[int]()

    async def knocking() -> None:
        while not over.is_set():
            async with httpx.AsyncClient(base_url=proxy.address, trust_env=False) as http:  # a connection of its own each time
                statuses.append((await http.get("/livez")).status_code)

    async with asyncio.TaskGroup() as all_of_it:
        stream = all_of_it.create_task(numbers_of_stream(proxy, run_id))
        socket = all_of_it.create_task(numbers_of_socket(proxy, run_id))
        all_of_it.create_task(knocking())
        await asyncio.sleep(0.5)
        for _ in range(3):
            proxy.reload()
            await asyncio.sleep(0.7)
        assert not stream.done()
        assert [process.poll() for process in proxy.processes[1:3]] == [0, 0], "a process without streams is still there"
        assert proxy.processes[0].poll() is None, "the streams' own process is gone"
        over.set()
        house.runs.gate.set()
    assert stream.result() == socket.result() == await whole(house, run_id)
    assert set(statuses) == {200}
    assert len(statuses) > 50
    await eventually(lambda: proxy.processes[0].poll() == 0, within_s=5)
