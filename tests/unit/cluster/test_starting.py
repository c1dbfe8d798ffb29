"""What makes the start quick: nothing waits for what it does not need, and nothing is done twice."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray._private import services
from ray.experimental import internal_kv

from cluster import applications, serving, spawning, tending
from cluster.applied import Applied
from cluster.environment import CHECKOUT, MARK, ready_path
from cluster.tending import Tending
from cluster.tree import Child, build_tree, spec_hash
from cluster.trim import DASHBOARD_NICE, dashboard_aside
from perenne.settings import Settings, load_settings
from perenne.testing import FakeDirectory, FakeEmbedder, eventually


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(spawning, "session", lambda: "session-1")
    return load_settings({"PERENNE_HOME": str(tmp_path)})


def applications_of(settings: Settings) -> list[Child]:
    return [child for child in build_tree(settings) if child.kind == "application"]


# What was applied


def test_a_restarted_supervisor_knows_what_was_applied_and_when(settings: Settings) -> None:
    before = Applied(settings)
    before.note("BlobStore-pc1", "one")
    before.note_deploying({"edge": "two"})
    after = Applied(settings)
    after.read()
    assert (after.hash("BlobStore-pc1"), after.hash("edge"), after.hash("language")) == ("one", "two", None)
    assert after.serve_begun
    assert -0.1 <= time.monotonic() - after.deployed_at < 5.0  # two clocks, read one after the other


def test_what_an_earlier_control_plane_was_given_does_not_count(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    Applied(settings).note_deploying({"edge": "two"})
    monkeypatch.setattr(spawning, "session", lambda: "session-2")
    after = Applied(settings)
    after.read()
    assert (after.hash("edge"), after.serve_begun, after.deployed_at) == (None, False, 0.0)


# Who deploys


@contextlib.asynccontextmanager
async def tended(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    seen: dict[str, tuple[str, str]],
    directory: FakeDirectory | None = None,
) -> AsyncIterator[list[str]]:
    """A tree that is tended without Ray; yields the names of the applications that it deployed."""
    deployed: list[str] = []

    def deploy(children: list[Child], settings: Settings) -> list[Any]:
        deployed.extend(child.name for child in children)
        return []

    monkeypatch.setattr(applications, "deploy", deploy)
    monkeypatch.setattr(applications, "look", lambda: seen)
    monkeypatch.setattr(applications, "replicas", dict)
    monkeypatch.setattr(spawning, "make", lambda child, settings: None)
    keeper = Tending(settings, directory or FakeDirectory())
    running = asyncio.create_task(keeper.run())
    try:
        yield deployed
    finally:
        keeper.stopping.set()
        await running


async def test_a_supervisor_deploys_what_nobody_has_deployed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tended(settings, monkeypatch, {}) as deployed:
        await eventually(lambda: sorted(deployed) == ["edge", "embedding", "language"], within_s=5)


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        ({"language": ("DEPLOYING", "")}, ["edge", "embedding"]),  # two that were refused: soon
        ({}, ["edge", "embedding", "language"]),  # it died on the way: later, it may only be slow
    ],
)
async def test_what_the_igniter_deploys_is_left_to_it_and_deployed_again_when_it_does_not_come(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seen: dict[str, tuple[str, str]], wanted: list[str]
) -> None:
    monkeypatch.setattr(serving, "DEPLOY_AGAIN_S", 1.0)
    monkeypatch.setattr(serving, "DEPLOY_FIRST_S", 3.0)
    begun = time.monotonic()
    Applied(settings).note_deploying({child.name: spec_hash(child, settings) for child in applications_of(settings)})
    async with tended(settings, monkeypatch, seen) as deployed:
        await eventually(lambda: sorted(deployed) == wanted, within_s=10)
    assert time.monotonic() - begun > (1.0 if seen else 3.0)


async def test_a_model_is_asked_at_each_look_until_it_is_ready_and_then_at_rest(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, model = FakeDirectory(), FakeEmbedder()
    model.phase = "loading"
    directory.put("embedding", model)
    settings = settings.model_copy(update={"health_period_s": 0.1})
    Applied(settings).note_deploying({child.name: spec_hash(child, settings) for child in applications_of(settings)})

    def asked() -> int:
        return sum(call[:2] == ("embedding", "state") for call in directory.calls)

    async with tended(settings, monkeypatch, {"embedding": ("RUNNING", "")}, directory):
        await eventually(lambda: asked() >= 5, within_s=3)
        model.phase, before = "ready", asked()
        begun = time.monotonic()
        await eventually(lambda: asked() >= before + 3, within_s=10)
        assert time.monotonic() - begun >= tending.MODEL_LOOK_S


# Handing over


class FakeServe:
    """`start` returns when the applications are there, as if the proxies took long."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self._running = threading.Event()

    def start(self, **options: Any) -> None:
        if not self._running.wait(5.0):
            raise TimeoutError("the applications were kept waiting for the proxies")

    def RunTarget(self, *, target: Any, name: str, route_prefix: str | None) -> Any:
        return SimpleNamespace(target=target, name=name)

    def run_many(self, targets: list[Any], **options: Any) -> None:
        self.ran = [target.name for target in targets]
        self._running.set()


def test_replicas_start_while_the_proxies_do_and_one_that_cannot_be_built_keeps_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = FakeServe()
    monkeypatch.setattr(applications, "_serve", lambda: serve)
    monkeypatch.setattr(applications, "_has_controller", lambda: True)

    def load(code: str) -> Any:
        if code.endswith(":embedding"):
            raise ImportError("no onnxruntime")
        return lambda args: args

    monkeypatch.setattr(applications, "load", load)
    refused = applications.deploy(applications_of(settings), settings)
    assert serve.ran == ["edge", "language"]
    assert [(child.name, str(error)) for child, error in refused] == [("embedding", "no onnxruntime")]


def test_nothing_is_deployed_where_serve_does_not_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would start by itself then, on a port that is not ours."""
    serve = FakeServe()

    def start(**options: Any) -> None:
        raise OSError("the port is taken")

    monkeypatch.setattr(serve, "start", start)
    monkeypatch.setattr(applications, "_serve", lambda: serve)
    monkeypatch.setattr(applications, "_has_controller", lambda: False)
    with pytest.raises(OSError, match="the port is taken"):
        applications.deploy(applications_of(settings), settings)
    assert serve.ran == []


# Ray's head


def test_the_start_does_not_wait_for_the_dashboard_which_gives_way_to_all_else() -> None:
    untouched = internal_kv._internal_kv_get
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as dashboard:

        def start(include: bool, raises: bool, host: str, *, port: int) -> tuple[str, Any]:
            address = internal_kv._internal_kv_get(b"dashboard")  # Ray asks in a loop until the dashboard has written it down
            assert address is not None
            return address.decode(), SimpleNamespace(process=dashboard)

        url, _ = dashboard_aside(start)(True, True, "127.0.0.1", port=8265)
        nice = os.getpriority(os.PRIO_PROCESS, dashboard.pid)
        dashboard.communicate(b"\n")
    assert url == "127.0.0.1:8265"
    assert nice == max(DASHBOARD_NICE, os.getpriority(os.PRIO_PROCESS, 0))
    assert internal_kv._internal_kv_get is untouched


def test_the_dashboard_begins_once_all_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, str(tmp_path))
    begun = tmp_path / "begun"
    children: list[subprocess.Popen[bytes]] = []

    def begin(command: list[str], process_type: str) -> Any:
        children.append(subprocess.Popen(command))
        return SimpleNamespace(process=children[0])

    monkeypatch.setattr(services, "start_ray_process", begin)

    def start(include: bool, raises: bool, host: str, *, port: int) -> tuple[str, Any]:
        return "", cast("Any", services).start_ray_process(["/usr/bin/touch", str(begun)], "dashboard")

    dashboard_aside(start)(True, True, "127.0.0.1", port=8265)
    assert services.start_ray_process is begin
    (child,) = children
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.8)
    assert not begun.exists()
    Path(ready_path(str(tmp_path))).touch()
    assert child.wait(10) == 0
    assert begun.exists()


def test_ray_start_imports_none_of_serve() -> None:
    program = (
        "import sys\nfrom cluster import ray_start\nsys.argv = ['ray', 'start', '--help']\n"
        "try:\n    ray_start.main()\nexcept SystemExit as end:\n    sys.exit(end.code or int('ray.serve' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--head" in done.stdout


@pytest.mark.parametrize("answers_again", [False, True])
async def test_a_model_that_hangs_is_replaced_and_one_that_answers_after_all_is_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, answers_again: bool
) -> None:
    """Serve alone gives a stopped replica up after 25 s."""
    monkeypatch.setattr(tending, "PING_TIMEOUT_S", 0.1)
    monkeypatch.setattr(tending, "MODEL_LOOK_S", 0.1)
    directory, ended = FakeDirectory(embedding=FakeEmbedder()), []
    monkeypatch.setattr(applications, "end_replicas", ended.append)
    settings = settings.model_copy(update={"health_period_s": 0.1})
    keeper = Tending(settings, directory)
    keeper._serving.seen.states = {"embedding": ("RUNNING", "")}
    standing = keeper._standings["embedding"]
    await keeper._look_at_model(standing)
    assert standing.state == "ready"
    directory.hang("embedding")
    for _ in range(standing.child.patience.silent):
        assert not ended
        keeper._model_looked.clear()
        await keeper._look_at_model(standing)
    if answers_again:
        directory.revive("embedding")
    for task in tuple(keeper._background):
        await task
    assert ended == ([] if answers_again else ["embedding"])
    assert [event.kind for event in keeper.events.after(0)] == ([] if answers_again else ["child_hung"])
