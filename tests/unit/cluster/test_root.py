"""The root process: whatever happens to it, it ends what it started."""

import asyncio
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import doorbell, head, spawning
from cluster.forking import Forking
from cluster.instance import HomeLock
from cluster.processes import of_instance
from cluster.root import HEAD_TRIES, IGNITING, OPENS_WITHIN_S, Root
from cluster.tending import Tending
from perenne.errors import Unavailable
from perenne.settings import Settings, load_settings
from perenne.testing import FakeDirectory


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(spawning, "session", lambda: "session-1")
    return load_settings({"PERENNE_HOME": str(tmp_path)})


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The root takes the process's signals: they are given back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_fault_at_the_start_ends_what_was_started(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only errors of ours were expected: another one ended the root and left Ray's processes running."""
    said: list[str] = []

    def fail(root: Root) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Root, "_start_head", fail)
    assert Root(settings, said.append).run() == 1
    assert said == ["error: OSError: no space left on device", "stopping", "stopped"]
    assert HomeLock(settings.home).holder() is None


def test_a_root_that_nobody_hears_ends_what_it_started(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its output a closed pipe (`perenne up | head -1`), the word "stopping" raised, and Ray's processes were left behind."""
    ended: list[str] = []

    def say(words: str) -> None:
        raise BrokenPipeError

    def begin(root: Any) -> None:
        root._head = SimpleNamespace(stop=lambda: ended.append("head") or ())
        root._instance = SimpleNamespace(ray_dir=str(settings.home))
        root._ending.set()

    monkeypatch.setattr(Root, "_start_head", begin)
    monkeypatch.setattr(doorbell, "ask", lambda *_: None)
    monkeypatch.setattr("cluster.root.save", lambda *_, **__: None)
    assert Root(settings, say).run() == 0
    assert ended == ["head"]
    assert HomeLock(settings.home).holder() is None


# Stands in for `ray start`: its first tries leave a process behind and fail, as Ray does when its own 30 s are over.
RAY_START = """
import pathlib, subprocess, sys
tries, failing = pathlib.Path(sys.argv[1]), int(sys.argv[2])
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
fails = len(tries.read_text()) <= failing
for part in ["gcs_server"] if fails else ["gcs_server", "raylet/raylet", "dashboard/dashboard.py"]:
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", part, tries.read_text()], start_new_session=True)
if fails:
    print("The current node timed out during startup.")
sys.exit(fails)
"""


@pytest.fixture
def tries(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Each `ray start` leaves an x here; as many fail as the test says. No zygote and no igniter, which nobody would hear."""
    script, told = tmp_path / "ray_start.py", tmp_path / "tries"
    script.write_text(RAY_START)
    monkeypatch.setattr(head, "head_arguments", lambda *_: [sys.executable, str(script), str(told), str(request.param)])
    monkeypatch.setattr(Forking, "look", lambda *_: None)
    for part in ("_prepare_igniter", "_ignite"):
        monkeypatch.setattr(Root, part, lambda root: None)
    return told


@pytest.mark.parametrize("tries", [HEAD_TRIES - 1], indirect=True)
def test_a_head_that_does_not_come_up_in_time_is_tried_again_on_a_clean_place(
    settings: Settings, tries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow machine Ray gave up its first start after 30 s, and `perenne up` ended with it."""
    said: list[str] = []
    running: list[list[str]] = []

    def watch(root: Any) -> None:
        running.extend(held.command()[3:] for held in of_instance(settings.ray_dir).values())
        root._ending.set()

    monkeypatch.setattr(Root, "_watch", watch)
    assert Root(settings, said.append).run() == 0
    again = [line for line in said if line.startswith("Ray did not come up")]
    assert [line.partition(" begins: ")[0] for line in again] == [
        f"Ray did not come up, try {n} of {HEAD_TRIES}" for n in range(2, HEAD_TRIES + 1)
    ]
    assert all("timed out during startup" in line for line in again)
    assert {last for _, last in running} == {"x" * HEAD_TRIES}, "what an earlier try left was ended"
    assert of_instance(settings.ray_dir) == {}


@pytest.mark.parametrize("tries", [HEAD_TRIES + 1], indirect=True)
def test_a_head_that_never_comes_up_ends_the_root_with_rays_words(settings: Settings, tries: Path) -> None:
    said: list[str] = []
    assert Root(settings, said.append).run() == 1
    assert tries.read_text() == "x" * HEAD_TRIES
    assert any(line.startswith("error: ") and "timed out during startup" in line for line in said)
    assert of_instance(settings.ray_dir) == {}


@pytest.mark.parametrize("tries", [HEAD_TRIES + 1], indirect=True)
def test_who_ends_a_start_that_fails_gets_no_other_try(
    settings: Settings, tries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root: Any = Root(settings, lambda line: None)
    monkeypatch.setattr(Root, "_prepare_igniter", lambda root: root._ending.set())
    assert root.run() == 0
    assert tries.read_text() == "x"


def test_a_look_that_fails_is_followed_by_the_next(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def watch(root: Any) -> None:
        looks.append(len(looks))
        if len(looks) < 3:
            raise ValueError("nobody thought of this")
        root._ending.set()

    monkeypatch.setattr("cluster.root.WATCH_S", 0.01)
    monkeypatch.setattr(Root, "_start_head", lambda root: None)
    monkeypatch.setattr(Root, "_watch", watch)
    assert Root(settings, lambda line: None).run() == 0
    assert looks == [0, 1, 2]


@pytest.fixture
def folder() -> Iterator[str]:
    """Short: pytest's own are too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="pd-", dir="/tmp") as folder:
        yield folder


async def test_a_supervisor_that_cannot_answer_hangs_up_at_once(folder: str) -> None:

    async def answer(question: str) -> dict[str, Any]:
        raise Unavailable("Supervisor", 0.5, "it is starting")

    door = await doorbell.open_door(folder, answer)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="it hung up"):
        await asyncio.to_thread(doorbell.ask, folder, "pulse", 5.0)
    assert time.monotonic() - began < 2
    door.close()


def test_half_an_answer_is_an_outage(folder: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(doorbell.socket_path(folder))
        listening.listen()

        def half() -> None:
            line, _ = listening.accept()
            line.recv(100)
            line.sendall(b'{"pid": 1')
            line.close()

        threading.Thread(target=half, daemon=True).start()
        with pytest.raises(Unavailable, match="cut off"):
            doorbell.ask(folder, "pulse", 5.0)


class Faulty:
    async def state(self) -> None:
        raise KeyError("a fault of the replica's own")


async def test_a_model_with_a_fault_of_its_own_is_a_state_and_no_failed_tick(settings: Settings) -> None:
    """Any error but ours went through the tick that looks at everything."""
    tending = Tending(settings, FakeDirectory(language=Faulty()))
    tending._serving.seen.states = {"language": ("RUNNING", "")}
    standing = tending._standings["language"]
    await tending._look_at_model(standing)
    assert standing.status().state == "starting"
    assert "a fault of the replica's own" in standing.status().detail


def test_an_igniter_that_fails_again_and_again_is_begun_ever_later(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was begun again at each look, twice a second, for as long as its fault lasted: each of them is a second of a core."""
    root: Any = Root(settings, lambda line: None)
    begun: list[float] = []
    now = 0.0

    def ignite(root: Any) -> None:
        begun.append(now)
        root._igniter = SimpleNamespace(poll=lambda: 1)  # it fails at once

    monkeypatch.setattr(Root, "_ignite", ignite)
    root._ignite()
    while now < 600.0:
        now += 0.5
        root._hear(now)
    assert begun[1] == 0.5, "the first time at once"
    assert 15 < len(begun) < 40
    pauses = [later - earlier for earlier, later in pairwise(begun)]
    assert max(pauses) <= 1.25 * IGNITING.backoff_max_s + 0.5
    assert min(pauses[-5:]) >= 0.75 * IGNITING.backoff_max_s


class Livez(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def announcing(settings: Settings, port: int) -> tuple[Any, list[str]]:
    """A root whose first boot has just said the key."""
    said: list[str] = []
    root: Any = Root(settings, said.append)
    root._instance = SimpleNamespace(http=f"http://127.0.0.1:{port}")
    root._words = [{"event": "key", "secret": "pk_new"}]
    return root, said


def test_the_address_is_said_once_the_edge_answers_at_it(settings: Settings) -> None:
    """A script that went to the address as soon as it was said found nobody there."""
    with HTTPServer(("127.0.0.1", 0), Livez, bind_and_activate=False) as edge:
        edge.server_bind()
        root, said = announcing(settings, edge.server_port)
        root._hear(0.0)
        assert said == []
        edge.server_activate()
        thread = threading.Thread(target=edge.serve_forever, daemon=True)
        thread.start()
        root._hear(1.0)
        root._hear(2.0)
        edge.shutdown()
        thread.join()
    assert said == [f"address: http://127.0.0.1:{edge.server_port}", "key: pk_new"]


def test_the_address_of_an_edge_that_does_not_come_is_said_after_a_while(settings: Settings) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        root, said = announcing(settings, nobody.getsockname()[1])
        root._hear(0.0)
        root._hear(OPENS_WITHIN_S - 1)
        assert said == []
        root._hear(OPENS_WITHIN_S)
    assert len(said) == 2
