"""Workers are forked from a process that has loaded what they load, and begin the usual way without one. No Ray: a stand-in's worker
writes down what it got."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from cluster import forking, worker, zygote
from cluster.environment import CHECKOUT
from cluster.forking import Forking
from perenne.testing import eventually

WORKER = """
import json, os, sys
found = {
    "pid": os.getpid(), "parent": os.getppid(), "group": os.getpgrp(), "arguments": sys.argv[1:], "folder": os.getcwd(),
    "asked": os.environ.get("ASKED"), "kept": os.environ.get("KEPT"), "loaded": sorted(sys.modules), "name": __name__,
}
print("on its output", flush=True)
open(sys.argv[1] + ".new", "w").write(json.dumps(found))
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a stand-in for Ray; short, for the socket."""
    with tempfile.TemporaryDirectory(prefix="pz-", dir="/tmp") as folder:
        workers = Path(folder, "ray", "_private", "workers")
        workers.mkdir(parents=True)
        Path(folder, "ray", "__init__.py").touch()
        Path(workers, "default_worker.py").write_text(WORKER)
        yield Path(folder)


def environment(place: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{place}:{CHECKOUT}", "PERENNE_INSTANCE": str(place), **more}


async def ask(place: Path) -> tuple[subprocess.CompletedProcess[str], int, dict[str, Any]]:
    """Start a worker as Ray does: how that ended, under which process id it was started, what the worker found."""
    found = place / "found.json"
    asking = subprocess.Popen(  # noqa: ASYNC220 - it is waited for
        [sys.executable, str(CHECKOUT / "cluster" / "worker.py"), str(found), "--worker-id=1"],
        env=environment(place, ASKED="yes"), cwd=place, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    output = asking.communicate(timeout=60)[0]
    await eventually(found.exists, within_s=30)
    return subprocess.CompletedProcess(asking.args, asking.returncode, output), asking.pid, json.loads(found.read_text())


@pytest.fixture
async def running(place: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(  # noqa: ASYNC220 - it runs beside the test
        [sys.executable, "-P", "-m", "cluster.zygote"], env=environment(place, KEPT="no"), cwd=CHECKOUT
    )
    try:
        await eventually(Path(zygote.socket_path(str(place))).exists, within_s=60)
        with socket.socket(socket.AF_UNIX) as probe:  # answered, by hanging up, once all is loaded
            probe.connect(zygote.socket_path(str(place)))
            probe.shutdown(socket.SHUT_WR)
            probe.settimeout(120)
            assert probe.recv(1) == b""
        yield child
    finally:
        child.kill()
        child.wait(10)


async def test_a_worker_is_forked_with_all_that_who_asked_had(place: Path, running: subprocess.Popen[bytes]) -> None:
    asked, _, found = await ask(place)
    assert (asked.returncode, asked.stdout) == (0, "on its output\n")
    assert found["parent"] == running.pid
    assert found["group"] == found["pid"], "Ray ends a worker with its group"
    assert found["arguments"] == [str(place / "found.json"), "--worker-id=1"]
    assert (found["folder"], found["asked"], found["kept"], found["name"]) == (str(place), "yes", None, "__main__")


async def test_a_fork_has_others_code_and_none_of_rays_or_ours(place: Path, running: subprocess.Popen[bytes]) -> None:
    """Ray reads a worker's own settings when it is imported, and forks that drew from its generator of ids before made the same ids; a child
    made anew after a change of our code has to get the new code."""
    loaded = {module.partition(".")[0] for module in (await ask(place))[2]["loaded"]}
    assert {"fastapi", "sqlalchemy", "grpc"} <= loaded
    assert not loaded & {"ray", "perenne", "actors", "serve"}


@pytest.mark.parametrize("left", [False, True], ids=["never there", "it died"])
async def test_without_a_zygote_a_worker_begins_the_usual_way(place: Path, left: bool) -> None:
    if left:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(zygote.socket_path(str(place)))  # a socket that nobody listens on stays as a file
    _, pid, found = await ask(place)
    assert found["pid"] == pid, "the process that Ray started is the worker"


def test_a_zygote_that_hangs_and_goes_on_later_does_not_make_a_second_worker(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WITHIN_S", 0.2)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(zygote.socket_path(str(place)))
        door.listen()
        asking = threading.Thread(target=lambda: done.append(worker.forked(zygote.socket_path(str(place)), b"{}")))
        done: list[bool] = []
        asking.start()
        line, _ = door.accept()
        asking.join(10)
        assert done == [False]
        with line, pytest.raises(BrokenPipeError):
            line.send(b"1")  # what a fork says before it becomes a worker


def test_a_fork_that_was_there_just_before_the_deadline_counts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for none, there would be two workers with one name."""
    late: list[bool] = []

    class Late(socket.socket):
        def recv(self, *given: Any) -> bytes:
            if late:
                return super().recv(*given)
            late.append(True)
            select.select([self], [], [], 10)  # the word is here, and so is the deadline
            raise TimeoutError

    with socket.socket(socket.AF_UNIX) as door:
        door.bind(zygote.socket_path(str(place)))
        door.listen()
        monkeypatch.setattr("cluster.worker.socket.socket", Late)
        done: list[bool] = []
        asking = threading.Thread(target=lambda: done.append(worker.forked(zygote.socket_path(str(place)), b"{}")))
        asking.start()
        line, _ = door.accept()
        with line:
            line.send(b"1")
            asking.join(10)
    assert done == [True]


class Looks:
    """A root's looks at its zygote, twenty times as often."""

    def __init__(self, place: Path) -> None:
        self.forking: Any = Forking(str(place), environment(place), place / "zygote.log")

    @property
    def pid(self) -> int:
        return self.forking._zygote.pid

    def once(self) -> bool:
        self.forking.look(time.monotonic())
        return True

    def answered(self) -> bool:
        return self.once() and self.forking._answered

    async def replaced(self, pid: int) -> None:
        await eventually(lambda: self.answered() and self.pid != pid, within_s=60)


@pytest.fixture
def looks(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    monkeypatch.setattr(forking, "RING_EVERY_S", 0.05)
    looks = Looks(place)
    yield looks
    looks.forking._zygote.kill()
    looks.forking._zygote.wait(10)
    looks.forking._hang_up()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "died"])
async def test_a_zygote_that_does_not_answer_is_replaced_and_workers_are_forked_from_the_next(
    place: Path, looks: Looks, number: signal.Signals
) -> None:
    """Nobody watched a zygote that hung: each worker waited 10 s for it before it began the slow way."""
    await eventually(looks.answered, within_s=60)
    first = looks.pid
    os.kill(first, number)
    await looks.replaced(first)
    assert not psutil.pid_exists(first)
    _, _, found = await ask(place)
    assert found["parent"] == looks.pid


async def test_who_waits_for_a_zygote_that_hangs_is_let_go_with_it(place: Path, looks: Looks) -> None:
    await eventually(looks.answered, within_s=60)
    first = looks.pid
    os.kill(first, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(zygote.socket_path(str(place)))
        await looks.replaced(first)
        waiting.setblocking(False)
        with pytest.raises(ConnectionResetError):  # and not: nothing yet
            waiting.recv(1)


def test_a_zygote_that_dies_at_once_is_started_ever_later(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking: Any = Forking(str(place), environment(place), place / "zygote.log")
    begun: list[float] = []

    def start(command: list[str], **given: Any) -> Any:
        begun.append(now)
        return SimpleNamespace(poll=lambda: 1)

    monkeypatch.setattr(forking.subprocess, "Popen", start)
    now = 0.0
    while now < 600.0:
        looking.look(now)
        now += 0.5
    assert begun[:3] == [0.0, 0.5, 1.0]
    assert len(begun) < 20


async def test_a_zygote_that_answers_is_left_alone(looks: Looks) -> None:
    await eventually(looks.answered, within_s=60)
    first, heard = looks.pid, looks.forking._heard_at
    await eventually(lambda: looks.once() and looks.forking._heard_at > heard + 0.5, within_s=30)
    assert looks.pid == first


def test_a_process_with_threads_is_not_forked() -> None:
    over = threading.Event()
    held = threading.Thread(target=over.wait)
    held.start()
    try:
        assert "threads run in it" in (zygote.why_not() or "")
    finally:
        over.set()
        held.join()
