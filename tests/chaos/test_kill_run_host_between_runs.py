"""The host of runs dies by SIGKILL while questions of one conversation wait their turn: in the middle of the first answer, or at its
last word, when the next is about to begin."""

import asyncio
import dataclasses
import itertools
from collections.abc import Callable

import pytest

from perenne.api import Perenne
from perenne.ids import new_id
from perenne.messages.commands import MessagePosted
from perenne.messages.records import RunEvent
from tests.chaos.answers import FOLLOW_S, LONG, QUESTION
from tests.chaos.recorder import Recorder

PROMISE = "questions that wait their turn are answered in their order, once each"
SHORT = dataclasses.replace(LONG, max_tokens=24)


def is_waiting(event: RunEvent) -> bool:
    return event.kind == "status" and event.data.get("stage") == "queued"


async def told(api: Perenne, posted: MessagePosted, strike: Callable[[RunEvent], None] | None = None) -> list[RunEvent]:
    """All events of a run, to its end; `strike` sees each as it comes."""
    seen: list[RunEvent] = []
    async with asyncio.timeout(FOLLOW_S):
        async for event in api.events(posted.run.id):
            seen.append(event)
            if strike is not None:
                strike(event)
    return seen


@pytest.mark.parametrize("kind", ["delta", "done"])
async def test_what_waits_behind_an_answer_is_answered_in_turn_and_once_when_the_host_is_killed(
    api: Perenne, kill: Callable[[str], float], recorder: Recorder, round_number: int, kind: str
) -> None:
    conversation, struck, loop = new_id("cnv"), list[float](), asyncio.get_running_loop()
    asked = [f"{QUESTION} Part {n}." for n in (1, 2, 3)]
    posted = [
        await api.post(text, conversation_id=conversation, options=options)
        for text, options in zip(asked, (LONG, SHORT, SHORT), strict=True)
    ]
    assert [(await api.run(each.run.id)).state for each in posted[1:]] == ["queued", "queued"], "nothing waits: no disaster"

    def strike(event: RunEvent) -> None:
        if event.kind == kind and not struck:
            kill("RunHost")
            struck.append(loop.time())

    first = await told(api, posted[0], strike)
    second = await told(api, posted[1])
    recovery_s = loop.time() - struck[0]
    events = [first, second, await told(api, posted[2])]

    for each, seen in zip(posted, events, strict=True):
        assert [event.seq for event in seen] == [event.seq for event in await told(api, each)], (
            "not each event once and in order"
        )
        assert [event.kind for event in seen if event.kind in ("done", "error")] == ["done"], "not one end"
    for before, after in itertools.pairwise(events):
        begun = next(event for event in after if not is_waiting(event))
        assert before[-1].created_at <= begun.created_at, "it began before the one before it had ended"
    shown = (await api.messages(conversation)).items
    assert [message.text for message in shown[::2]] == asked
    assert [message.text for message in shown[1::2]] == [seen[-1].data["text"] for seen in events]
    assert all(message.text.strip() and len(message.siblings) == 1 for message in shown)
    recorder.round("kill -9 of the host of runs, others waiting", PROMISE, recovery_s, acknowledged=len(posted))
