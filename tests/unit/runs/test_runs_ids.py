"""A run is worked on under its own id and that of the request that asked for it, whoever's work it was that let it begin."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from actors.runs.desk import Desk
from perenne import correlation
from perenne.messages.records import Run, RunOptions
from perenne.testing import eventually


def run(run_id: str) -> Run:
    return Run(
        id=run_id, user_id="ana", conversation_id="talk", question_id=f"q_{run_id}", message_id="m", state="queued",
        options=RunOptions(), created_at=0.0, updated_at=0.0,
    )  # fmt: skip


class House:
    """A store, and attempts that end when they are let."""

    def __init__(self) -> None:
        self.open: tuple[Run, ...] = ()
        self.before: dict[str, str] = {}
        self.worked: dict[str, correlation.Ids | None] = {}
        self.ends: dict[str, asyncio.Event] = {}
        self.read_for: list[correlation.Ids | None] = []

    async def read(self, method: str, **query: Any) -> Any:
        if method == "open_runs":
            return self.open
        if method == "run_before":
            return self.before.get(query["question_id"].removeprefix("q_"))
        self.read_for.append(correlation.ids())
        return run(query["run_id"])

    def attempt(self, one: Run) -> "Attempt":
        return Attempt(self, one.id)


class Attempt:
    def __init__(self, house: House, run_id: str) -> None:
        self._house, self._run_id = house, run_id

    async def work(self) -> None:
        self._house.worked[self._run_id] = correlation.ids()
        await self._house.ends.setdefault(self._run_id, asyncio.Event()).wait()
        self._house.before = {run_id: one for run_id, one in self._house.before.items() if one != self._run_id}

    def stop(self) -> None:
        self._house.ends[self._run_id].set()


@contextmanager
def working(house: House) -> Iterator[Desk]:
    desk = Desk(house, house.attempt)  # type: ignore[arg-type]
    task = asyncio.create_task(desk.run())
    yield desk
    task.cancel()


async def nudge(desk: Desk, run_id: str, request_id: str | None) -> None:
    """As a call of the shell does: in a task of its own."""

    async def call() -> None:
        correlation.work_for(None if request_id is None else (request_id, None))
        desk.start(run_id)

    await asyncio.create_task(call())


async def test_a_run_is_worked_on_for_the_request_that_asked_for_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "actors.runs")
    house = House()
    with working(house) as desk:
        await nudge(desk, "run_1", "req_1")
        await nudge(desk, "run_2", None)
        await eventually(lambda: len(house.worked) == 2)
        assert house.worked == {"run_1": ("req_1", "run_1"), "run_2": (None, "run_2")}
        assert house.read_for == [("req_1", "run_1"), (None, "run_2")], "the store is asked for the same"
        await desk.close()
    asked = [one for one in caplog.records if one.getMessage() == "there is a run to answer"]
    assert [one.run_id for one in asked] == ["run_1", "run_2"]


async def test_one_that_waited_for_another_is_not_worked_on_for_the_others_request() -> None:
    house = House()
    house.before = {"run_2": "run_1"}
    with working(house) as desk:
        await nudge(desk, "run_1", "req_1")
        await eventually(lambda: "run_1" in house.worked)
        await nudge(desk, "run_2", "req_2")
        await eventually(lambda: len(house.read_for) == 2)
        house.ends["run_1"].set()
        await eventually(lambda: "run_2" in house.worked)
        assert house.worked["run_2"] == ("req_2", "run_2")
        await desk.close()


async def test_one_that_was_found_in_the_database_is_nobodys_and_a_nudge_that_comes_in_time_says_whose() -> None:
    house = House()
    house.open = (run("run_1"),)
    with working(house) as desk:
        await eventually(lambda: "run_1" in house.worked)
        assert house.worked["run_1"] == (None, "run_1")
        await desk.close()
    desk = Desk(house, house.attempt)  # type: ignore[arg-type]
    await desk._sweep()
    await nudge(desk, "run_1", "req_1")
    desk._fill()
    await eventually(lambda: house.worked["run_1"] == ("req_1", "run_1"))
    await desk.close()
