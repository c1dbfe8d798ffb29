import asyncio
from typing import Any

import pytest

from perenne.errors import Conflict, DeadlineExceeded, Unavailable
from perenne.following import follow_run
from perenne.messages.commands import CreateProject, Outcome
from perenne.messages.records import Run, RunEvent, RunOptions
from perenne.store import Store


class Script:
    """A directory that plays prepared answers per method: an exception is raised, a list is streamed, the rest is returned."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers, self.calls = answers, []

    def _next(self, name: str, method: str, kwargs: dict[str, Any]) -> Any:
        self.calls.append((name, method, kwargs))
        answers = self.answers[method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call(self, name: str, method: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        return self._next(name, method, kwargs)

    async def stream(self, name: str, method: str, /, *, silence_s: float, **kwargs: Any) -> Any:
        for item in self._next(name, method, kwargs):
            if isinstance(item, Exception):
                raise item
            yield item


COMMAND = CreateProject(command_id="cmd_1", user_id="owner", project_id="prj_1", name="a")


async def test_a_write_is_sent_again_under_its_id_until_the_writer_is_back() -> None:
    directory = Script(
        submit=[Unavailable("StoreWriter"), DeadlineExceeded("StoreWriter", 1.0), (Outcome(command_id="cmd_1", value=7),)]
    )
    assert await Store(directory).write(COMMAND) == 7
    sent = [kwargs["commands"] for _, _, kwargs in directory.calls]
    assert sent == [(COMMAND,)] * 3


async def test_a_write_gives_up_at_its_deadline_with_the_last_reason() -> None:
    directory = Script(submit=[Unavailable("StoreWriter", 1.0, "restarting")])
    with pytest.raises(Unavailable, match="restarting"):
        await Store(directory).write(COMMAND, deadline_s=0.3)
    assert len(directory.calls) > 1


async def test_an_error_of_the_command_itself_is_raised_at_once() -> None:
    directory = Script(submit=[(Outcome(command_id="cmd_1", error=Conflict("a project named 'a' exists")),)])
    with pytest.raises(Conflict, match="exists"):
        await Store(directory).write(COMMAND)
    assert len(directory.calls) == 1


async def test_reads_go_round_the_readers_and_past_one_that_is_away() -> None:
    directory = Script(counts=[Unavailable("StoreReader-0"), {"projects": 1}])
    assert await Store(directory, readers=2).read("counts") == {"projects": 1}
    assert [name for name, _, _ in directory.calls] == ["StoreReader-0", "StoreReader-1"]


@pytest.mark.parametrize("how", ["read", "write"])
async def test_a_later_try_gets_what_is_left_of_the_deadline(how: str) -> None:
    # Each try got all of it again: whoever gave ten seconds could wait for twenty.
    class Late:
        def __init__(self) -> None:
            self.given: list[float] = []

        async def call(self, name: str, method: str, /, *, timeout_s: float, **_: Any) -> Any:
            self.given.append(timeout_s)
            await asyncio.sleep(min(0.4, timeout_s))
            raise Unavailable(name)

    late = Late()
    store = Store(late)  # type: ignore[arg-type]
    with pytest.raises((Unavailable, DeadlineExceeded)):
        await (store.read("counts", deadline_s=0.5) if how == "read" else store.write(COMMAND, deadline_s=0.5))
    assert late.given[0] > 0.3
    assert all(0.0 < given <= 0.2 for given in late.given[1:])


def event(seq: int, kind: Any = "delta") -> RunEvent:
    return RunEvent(run_id="run_1", seq=seq, kind=kind, data={})


def closed_run(events: int) -> Run:
    return Run(
        id="run_1",
        user_id="owner",
        conversation_id="cnv_1",
        question_id="msg_1",
        message_id="msg_2",
        state="done",
        events=events,
        options=RunOptions(),
        created_at=0.0,
        updated_at=0.0,
    )


async def test_a_follow_survives_the_hosts_death_and_skips_what_was_seen() -> None:
    directory = Script(
        follow=[[event(1), event(2), Unavailable("RunHost")], [event(2), event(3), event(4, "done")]],
        run_events=[(event(3),)],
    )
    seen = [found.seq async for found in follow_run(directory, Store(directory), "owner", "run_1")]
    assert seen == [1, 2, 3, 4]
    assert directory.calls[-1][2]["after"] == 3


async def test_a_follow_whose_host_never_comes_back_ends_from_the_database() -> None:
    directory = Script(follow=[Unavailable("RunHost")], run_events=[(event(1),), (event(2, "done"),)])
    seen = [found.seq async for found in follow_run(directory, Store(directory), "owner", "run_1")]
    assert seen == [1, 2]


async def test_a_lease_that_ends_is_asked_again_by_sequence_until_the_run_is_closed() -> None:
    directory = Script(follow=[[event(1)], [event(2)], []], run=[closed_run(events=2)])
    seen = [found.seq async for found in follow_run(directory, Store(directory), "owner", "run_1")]
    assert seen == [1, 2]
