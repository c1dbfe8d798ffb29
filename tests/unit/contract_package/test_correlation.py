"""Ids of requests and runs: carried by lines, handles, gathered writes and pools of threads, and left in nobody else's work."""

import asyncio
import inspect
import logging
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray

from perenne import correlation
from perenne.client import RayDirectory
from perenne.correlation import Ids, inherited, takes_ids, work_for
from perenne.gathering import CALLS_MAX, Gatherer
from perenne.line import Lines
from perenne.line_owner import LineOwner
from perenne.messages.commands import Command, CreateProject, Outcome
from perenne.settings import load_settings
from perenne.testing import eventually

OURS: Ids = ("req_1", "run_1")


@takes_ids
class Shell:
    """What an owner's shell looks like."""

    def __init__(self) -> None:
        self.closed = False

    async def seen(self, more: int = 0, **rest: int) -> Ids | None:
        await asyncio.sleep(0)
        return correlation.ids()

    async def items(self, *, count: int) -> AsyncIterator[Ids | None]:
        try:
            for _ in range(count):
                yield correlation.ids()
        finally:
            self.closed = True

    def plain(self) -> str:
        return "as it was"


@pytest.mark.parametrize("given", [None, OURS, ("req_1", None)])
async def test_a_call_by_handle_works_for_the_ids_that_it_carries(given: Ids | None) -> None:
    call = Shell().seen(1, other=2, **({} if given is None else {"_ids": given}))
    assert await asyncio.create_task(call) == given
    assert correlation.ids() is None, "a call's ids are of its task alone"


async def test_a_stream_works_for_them_too_and_ends_its_source_with_itself() -> None:
    shell = Shell()

    async def first() -> Ids | None:
        stream: Any = shell.items(count=3, _ids=OURS)  # type: ignore[call-arg]
        item = await anext(stream)
        await stream.aclose()
        return item

    assert await asyncio.create_task(first()) == OURS
    assert shell.closed
    assert inspect.isasyncgenfunction(Shell.items), "Ray looks, and streams only then"


def test_the_keyword_is_part_of_the_signature_that_ray_checks_calls_by() -> None:
    assert list(inspect.signature(Shell.seen).parameters) == ["self", "more", "_ids", "rest"]
    assert list(inspect.signature(Shell.items).parameters) == ["self", "count", "_ids"]
    assert Shell().plain() == "as it was"


def test_every_actor_and_every_model_takes_them(tmp_path: Path) -> None:
    """One that does not would refuse each call that carries some."""
    from actors.models import app
    from cluster.supervisor import Supervisor
    from cluster.tree import build_tree, load

    settings = load_settings({"PERENNE_HOME": str(tmp_path), "PERENNE_PROFILE": "tiny"})
    actors = [load(child.code) for child in build_tree(settings) if child.kind == "actor"]
    assert len(actors) >= 9
    for shell in (*actors, Supervisor):
        made: Any = ray.remote(concurrency_groups=shell.CONCURRENCY)(shell)
        seen = made.__ray_metadata__.method_meta  # what Ray checks a call by, and where it runs it
        public = {name for name in vars(shell) if not name.startswith("_") and callable(getattr(shell, name))}
        assert len(public) >= 2
        for name in public:
            assert correlation.KEYWORD in {parameter.name for parameter in seen.signatures[name]}, (shell, name)
        assert seen.concurrency_group_for_methods["health"] == "health", shell
    for model in (app._Language, app._Embedding, app._Reranking):
        for name, method in inspect.getmembers(model, inspect.isfunction):
            assert name.startswith("_") or correlation.KEYWORD in inspect.signature(method).parameters, (model, name)


class Handle:
    """An actor's, that keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def __getattr__(self, method: str) -> Any:
        return self

    def options(self, **_: Any) -> "Handle":
        return self

    def remote(self, **kwargs: Any) -> Any:
        self.sent.append(kwargs)

        async def answer() -> str:
            return "answered"

        async def items() -> AsyncIterator[Any]:
            yield answer()

        return items() if "stream" in kwargs else answer()


async def test_a_directory_sends_them_by_handle_and_nothing_where_there_are_none() -> None:
    handle = Handle()

    class Directory(RayDirectory):
        def _resolve(self, name: str) -> Any:
            return handle

    async def ask() -> None:
        work_for(OURS)
        assert await Directory().call("RunHost", "start", timeout_s=5.0, run_id="r") == "answered"
        assert [item async for item in Directory().stream("RunHost", "follow", silence_s=5.0, stream=1)] == ["answered"]

    await asyncio.create_task(ask())
    await Directory().call("RunHost", "start", timeout_s=5.0, run_id="r")
    assert handle.sent == [{"run_id": "r", "_ids": OURS}, {"stream": 1, "_ids": OURS}, {"run_id": "r"}]


class Owner:
    async def seen(self) -> Ids | None:
        await asyncio.sleep(0)
        return correlation.ids()


async def test_a_line_carries_them_call_by_call() -> None:
    with tempfile.TemporaryDirectory(prefix="pl", dir="/tmp") as made:
        LineOwner("owner", Owner(), frozenset({"seen"}), Path(made, "lines", "node")).begin()
        lines = Lines(Path(made, "lines", "node"))

        async def ask(ids: Ids | None) -> Ids | None:
            work_for(ids)
            line = await eventually(lambda: lines.to("owner", "seen"), within_s=30)
            return await line.call("seen", 5.0, {})

        every: list[Ids | None] = [OURS, None, ("req_2", None), ("req_3", "run_3")]
        assert await asyncio.gather(*(ask(ids) for ids in every)) == every
        assert await asyncio.create_task(ask(None)) is None, "the line was made by a call that had some"


class Gate:
    """A writer that answers once it may, and sees for whom each call was made."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.seen: list[tuple[int, Ids | None]] = []

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        commands: tuple[Command, ...] = kwargs["commands"]
        self.seen.append((len(commands), correlation.ids()))
        await self.open.wait()
        return tuple(Outcome(command_id=one.command_id) for one in commands)

    def stream(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing streams here")


@pytest.mark.parametrize(("others", "gathered"), [(OURS, OURS), (("req_2", None), None)])
async def test_writes_that_share_a_call_are_of_one_request_or_of_nobodys(others: Ids, gathered: Ids | None) -> None:
    # The task that makes a shared call would work for whoever happened to begin it.
    gate = Gate()
    gatherer = Gatherer(gate)

    async def write(number: int, ids: Ids) -> None:
        work_for(ids)
        command = CreateProject(command_id=f"cmd_{number}", user_id="owner", project_id=f"prj_{number}", name=f"p{number}")
        await gatherer.submit((command,), 5.0)

    tasks = [asyncio.create_task(write(n, OURS)) for n in range(CALLS_MAX + 1)]
    tasks.append(asyncio.create_task(write(99, others)))
    await eventually(lambda: len(gate.seen) == CALLS_MAX)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.seen == [*[(1, OURS)] * CALLS_MAX, (2, gathered)]


async def test_a_pool_of_threads_works_for_whom_it_is_given_work() -> None:
    async def ask(pool: ThreadPoolExecutor) -> Ids | None:
        work_for(OURS)
        correlation.work_on("run_2")
        return await asyncio.wrap_future(pool.submit(inherited(correlation.ids)))

    with ThreadPoolExecutor(1) as pool:
        assert await asyncio.create_task(ask(pool)) == ("req_1", "run_2")
        assert pool.submit(inherited(correlation.ids)).result() is None
    assert correlation.level() == logging.DEBUG
