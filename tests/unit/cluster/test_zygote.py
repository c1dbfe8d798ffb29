"""Workers are forked from a process that has loaded what they load, and begin the usual way without one. No Ray: a stand-in's worker
writes down what it got."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import worker, zygote
from cluster.environment import CHECKOUT
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
    await eventually(Path(zygote.socket_path(str(place))).exists, within_s=60)
    with socket.socket(socket.AF_UNIX) as probe:  # answered, by hanging up, once all is loaded
        probe.connect(zygote.socket_path(str(place)))
        probe.shutdown(socket.SHUT_WR)
        probe.settimeout(120)
        assert probe.recv(1) == b""
    yield child
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


def test_a_process_with_threads_is_not_forked() -> None:
    over = threading.Event()
    held = threading.Thread(target=over.wait)
    held.start()
    try:
        assert "threads run in it" in (zygote.why_not() or "")
    finally:
        over.set()
        held.join()
