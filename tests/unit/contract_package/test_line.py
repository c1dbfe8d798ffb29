"""Calls over an owner's socket file: what it answers, what it raises, and what becomes of a call whose owner is gone or slow."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perenne.line_owner
from perenne.errors import Busy, DeadlineExceeded, NotFound, Unavailable
from perenne.line import Line, Lines, line_path
from perenne.line_owner import LineOwner
from perenne.testing import eventually

ROOT = Path(__file__).resolve().parents[3]
_OWNER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.contract_package.test_line import Owner
from perenne.line_owner import LineOwner
LineOwner("owner", Owner(), frozenset({"add", "sleep"}), Path(sys.argv[1])).begin()
time.sleep(600)
"""


class Owner:
    """Something with methods."""

    async def add(self, *, a: int, b: int) -> int:
        return a + b

    async def whole(self, *, size: int) -> bytes:
        return bytes(size)

    async def sleep(self, *, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    async def wait(self) -> str:
        """Until somebody calls `free`."""
        self.freed = asyncio.Event()
        await self.freed.wait()
        return "waited"

    async def free(self) -> None:
        self.freed.set()

    async def miss(self) -> None:
        raise NotFound("thing", "x")

    async def fail(self) -> None:
        raise KeyError("not ours")

    async def hidden(self) -> str:
        return "not for the line"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pl", dir="/tmp") as made:  # short: a socket's path has 107 bytes at most
        yield Path(made, "lines", "node")


async def line_to(lines: Lines) -> Line:
    found = await eventually(lambda: lines.to("owner", "add"), within_s=30)
    assert isinstance(found, Line)
    return found


async def opened(folder: Path) -> Line:
    LineOwner("owner", Owner(), frozenset({"add", "whole", "sleep", "wait", "free", "miss", "fail"}), folder).begin()
    return await line_to(Lines(folder))


def call(line: Line, method: str, timeout_s: float = 10.0, **kwargs: Any) -> Any:
    return line.call(method, timeout_s, kwargs)


async def test_many_calls_at_once_each_get_their_own_answer(folder: Path) -> None:
    line = await opened(folder)
    slow = asyncio.create_task(call(line, "wait"))
    await asyncio.sleep(0)  # it is on its way before the others
    assert await asyncio.gather(*(call(line, "add", a=n, b=1) for n in range(500))) == list(range(1, 501))
    assert not slow.done()
    assert len(await call(line, "whole", size=5 << 20)) == 5 << 20
    await call(line, "free")
    assert await slow == "waited"


async def test_what_the_owner_raises_is_raised_and_what_is_not_ours_says_where_it_failed(folder: Path) -> None:
    line = await opened(folder)
    with pytest.raises(NotFound, match="thing"):
        await call(line, "miss")
    with pytest.raises(RuntimeError, match=r"owner.fail failed: KeyError\('not ours'\)"):
        await call(line, "fail")
    assert await call(line, "add", a=1, b=2) == 3


async def test_only_what_the_owner_offers_is_answered(folder: Path) -> None:
    LineOwner("owner", Owner(), frozenset({"add"}), folder).begin()
    lines = Lines(folder)
    line = await line_to(lines)
    assert await lines.to("owner", "hidden") is None
    assert await lines.to("nobody", "add") is None
    with pytest.raises(RuntimeError, match="expected one of"):
        await call(line, "hidden")


async def test_a_call_that_takes_too_long_is_given_up_and_its_answer_is_nobody_elses(folder: Path) -> None:
    line = await opened(folder)
    with pytest.raises(DeadlineExceeded):
        await call(line, "sleep", 0.05, seconds=0.2)
    assert await call(line, "sleep", seconds=0.3) == "slept"
    assert await call(line, "add", a=1, b=2) == 3


async def test_an_owner_takes_so_many_calls_at_once_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perenne.line_owner, "OPEN_MAX", 2)
    line = await opened(folder)
    held = [asyncio.create_task(call(line, "sleep", 60.0, seconds=50.0)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await call(line, "add", a=1, b=2)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    with pytest.raises(Busy):  # who gave up left their calls with the owner
        await call(line, "add", a=1, b=2)


async def test_an_answered_call_has_made_room_for_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call was counted until after its answer had gone out: a caller that asked on at once could be told Busy."""
    monkeypatch.setattr(perenne.line_owner, "OPEN_MAX", 1)
    line = await opened(folder)
    for n in range(300):
        assert await call(line, "add", a=n, b=2) == n + 2
    assert await call(line, "sleep", seconds=0.01) == "slept"
    assert await call(line, "add", a=1, b=2) == 3


async def test_the_files_are_closed_to_others(folder: Path) -> None:
    await opened(folder)
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (folder.parent, folder, line_path(folder, "owner"))]
    assert modes == [0o700, 0o700, 0o600]


async def test_a_caller_hears_at_once_that_the_owner_died_and_finds_the_next_one(folder: Path) -> None:
    lines = Lines(folder)

    def born() -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", _OWNER, str(folder), str(ROOT)])

    first = born()
    try:
        line = await line_to(lines)
        waiting = asyncio.create_task(call(line, "sleep", 60.0, seconds=50.0))
        assert await call(line, "add", a=1, b=2) == 3
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(Unavailable):
            await call(line, "add", a=1, b=2)
        assert await lines.to("owner", "add") is None  # its file is there, and nobody listens: the caller goes through Ray
    finally:
        first.kill()
        first.wait()
    second = born()
    try:
        line = await line_to(lines)
        assert await call(line, "add", a=1, b=2) == 3
    finally:
        second.kill()
        second.wait()
