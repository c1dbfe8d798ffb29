import asyncio
from typing import Any

import pytest

from perenne import names
from perenne.errors import Busy, DeadlineExceeded, TooLarge, Unavailable
from perenne.gathering import CALLS_MAX, Gatherer
from perenne.messages.commands import Command, CreateProject, IndexedDocument, Outcome, StoreDocuments
from perenne.store import Store
from perenne.testing import eventually


def command(n: int) -> CreateProject:
    return CreateProject(command_id=f"cmd_{n}", user_id="owner", project_id=f"prj_{n}", name=f"p{n}")


class Gate:
    """A writer that answers once the gate is open; `refuses` tells which lists it refuses, and how."""

    def __init__(self, refuses: Any = lambda commands: None) -> None:
        self.open = asyncio.Event()
        self.calls: list[tuple[Command, ...]] = []
        self._refuses = refuses

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        commands: tuple[Command, ...] = kwargs["commands"]
        assert (name, method) == (names.STORE_WRITER, "submit")
        self.calls.append(commands)
        try:
            async with asyncio.timeout(timeout_s):
                await self.open.wait()
        except TimeoutError:
            raise DeadlineExceeded(name, timeout_s) from None
        error = self._refuses(commands)
        if error is not None:
            raise error
        return tuple(Outcome(command_id=one.command_id, value=one.command_id.removeprefix("cmd_")) for one in commands)

    def stream(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing streams here")


async def answers_of(gate: Gate, count: int) -> list[asyncio.Task[Any]]:
    """`count` callers at once, all of them on their way."""
    store = Store(gate)
    tasks = [asyncio.create_task(store.write(command(n), deadline_s=5.0)) for n in range(count)]
    await eventually(lambda: len(gate.calls) == min(count, CALLS_MAX), within_s=2)
    return tasks


async def test_what_comes_while_calls_are_in_flight_goes_together_and_everybody_gets_his_own() -> None:
    gate = Gate()
    tasks = await answers_of(gate, 64)
    gate.open.set()
    assert await asyncio.gather(*tasks) == [str(n) for n in range(64)]
    assert len(gate.calls) == CALLS_MAX + 1
    sent = [one.command_id for call in gate.calls for one in call]
    assert sorted(sent) == sorted({f"cmd_{n}" for n in range(64)})


async def test_a_caller_alone_does_not_wait_for_company() -> None:
    gate = Gate()
    gate.open.set()
    store = Store(gate)
    assert [await store.write(command(n)) for n in range(3)] == ["0", "1", "2"]
    assert [len(call) for call in gate.calls] == [1, 1, 1]


async def test_a_call_carries_no_more_than_the_writer_takes() -> None:
    gate = Gate()
    tasks = await answers_of(gate, 3 * names.COMMANDS_PER_CALL_MAX)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert max(len(call) for call in gate.calls) == names.COMMANDS_PER_CALL_MAX


async def test_a_command_that_is_refused_takes_no_neighbour_with_it() -> None:
    def refuses(commands: tuple[Command, ...]) -> Exception | None:
        return TooLarge("a command", 9, 8) if any(one.command_id == "cmd_40" for one in commands) else None

    gate = Gate(refuses)
    tasks = await answers_of(gate, 64)
    gate.open.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(got[40], TooLarge)
    assert [one for n, one in enumerate(got) if n != 40] == [str(n) for n in range(64) if n != 40]


@pytest.mark.parametrize("outage", [Unavailable("StoreWriter", 0.05), Busy("StoreWriter", 0.05)])
async def test_an_outage_is_everybodys_and_the_same_ids_are_sent_again(outage: Exception) -> None:
    met: list[int] = []

    def refuses(commands: tuple[Command, ...]) -> Exception | None:
        if len(commands) > 1 and not met:
            met.append(len(commands))
            return outage
        return None

    gate = Gate(refuses)
    tasks = await answers_of(gate, 64)
    gate.open.set()
    assert await asyncio.gather(*tasks) == [str(n) for n in range(64)]
    assert met == [64 - CALLS_MAX]


async def test_a_caller_that_gives_up_takes_nobody_with_him() -> None:
    gate = Gate()
    tasks = await answers_of(gate, 16)
    tasks[0].cancel()  # in flight
    tasks[10].cancel()  # waiting: it is not sent
    await asyncio.wait([tasks[0], tasks[10]])
    gate.open.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for n, one in enumerate(got) if n not in (0, 10)] == [str(n) for n in range(16) if n not in (0, 10)]
    assert "cmd_10" not in {one.command_id for call in gate.calls for one in call}


async def test_a_hung_writer_keeps_nobody_beyond_the_timeout() -> None:
    gatherer = Gatherer(Gate())
    got = await asyncio.gather(*(gatherer.submit((command(n),), 0.2) for n in range(12)), return_exceptions=True)
    assert {type(one) for one in got} == {DeadlineExceeded}


async def test_documents_travel_alone() -> None:
    gate = Gate()
    store = Store(gate)
    documents = StoreDocuments(
        command_id="cmd_d",
        user_id="system",
        job_id="job",
        lease_token="token",
        lease_s=1.0,
        project_id="prj",
        space="s",
        documents=(IndexedDocument(document_id="doc", title="t", text="t", chunks=(), vectors=b""),),
    )
    tasks = [asyncio.create_task(store.write(command(n))) for n in range(8)]
    tasks.append(asyncio.create_task(store.write(documents)))
    await eventually(lambda: (documents,) in gate.calls, within_s=2)
    gate.open.set()
    await asyncio.gather(*tasks)


async def test_a_caller_that_gives_up_makes_room_for_those_who_wait() -> None:
    gate = Gate()
    tasks = await answers_of(gate, CALLS_MAX + 2)
    tasks[0].cancel()
    await eventually(lambda: len(gate.calls) == CALLS_MAX + 1, within_s=2)
    assert [one.command_id for one in gate.calls[-1]] == [f"cmd_{CALLS_MAX}", f"cmd_{CALLS_MAX + 1}"]
    gate.open.set()
    assert await asyncio.gather(*tasks[1:]) == [str(n) for n in range(1, CALLS_MAX + 2)]
