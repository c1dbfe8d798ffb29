"""Answers of one branch are written one after another, in the order of their questions, whoever dies in between."""

import asyncio

from perenne.ids import new_id
from perenne.messages.commands import PostMessage
from perenne.messages.records import RunOptions
from perenne.testing import eventually

USER = "ana"
LONG = "word " * 60


def said_before(world, number):
    """What the model was given before the question, of its n-th generation."""
    return [message.content for message in world.language.requests[number].messages]


async def post(world, text, **fields):
    options = RunOptions(grounded=False, **fields.pop("options", {}))
    given = {"conversation_id": "talk", "project_id": world.project_id, "options": options} | fields
    ids = {"message_id": new_id("msg"), "reply_id": new_id("msg"), "run_id": new_id("run")}
    posted = await world.store.write(PostMessage(command_id=new_id("c"), user_id=USER, text=text, **ids, **given))
    await world.directory.call("RunHost", "start", timeout_s=1.0, run_id=posted.run.id)
    return posted


async def saying(world, run_id):
    async def words():
        return any(event.kind == "delta" for event in await world.events(run_id))

    await eventually(words)


async def state(world, posted):
    return (await world.run(posted.run.id)).state


def slow(world):
    """Each question is answered by a text that names it."""
    world.language.reply = lambda request: f"On {request.messages[-1].content}: {LONG}"
    world.language.token_s = 0.005


async def test_questions_asked_while_an_answer_is_written_are_answered_in_turn_each_with_the_answers_before(world):
    slow(world)
    posted = [await post(world, text) for text in ("one", "two", "three")]
    other = await post(world, "elsewhere", conversation_id="other")
    await saying(world, posted[0].run.id)
    await saying(world, other.run.id)
    assert [await state(world, each) for each in posted] == ["running", "queued", "queued"], "only other talks go on beside it"
    for each in posted:
        await world.ended(each.run.id)
    asked = [request.messages[-1].content for request in world.language.requests]
    assert [text for text in asked if text != "elsewhere"] == ["one", "two", "three"]
    last = said_before(world, asked.index("three"))
    assert [text.split(":")[0] for text in last] == ["one", "On one", "two", "On two", "three"]
    events = await world.events(posted[1].run.id)
    assert (events[0].kind, events[0].data["stage"]) == ("status", "queued")
    assert not any(event.data.get("stage") == "resumed" for event in events)


async def test_the_order_holds_when_the_host_dies_between_two_of_them(world):
    slow(world)
    first, second = await post(world, "one"), await post(world, "two")
    await saying(world, first.run.id)
    await world.kill_host()
    assert await state(world, second) == "queued"
    world.start_host()
    await world.ended(second.run.id)
    assert await state(world, first) == "done"
    texts = said_before(world, -1)
    assert [text.split(":")[0] for text in texts] == ["one", "On one", "two"]
    assert texts[1].endswith(LONG.strip()) or texts[1].startswith("On one")


async def test_a_queued_run_that_is_stopped_ends_at_once_and_those_behind_it_still_wait(world):
    slow(world)
    posted = [await post(world, text) for text in ("one", "two", "three")]
    await saying(world, posted[0].run.id)
    await world.stop(posted[1].run.id)
    assert [await state(world, each) for each in posted] == ["running", "stopped", "queued"]
    await asyncio.sleep(0.1)  # time enough for a third that does not wait to begin
    assert await state(world, posted[2]) == "queued"
    await world.ended(posted[2].run.id)
    assert [text.split(":")[0] for text in said_before(world, -1)] == ["one", "On one", "two", "three"]


async def test_a_question_asked_otherwise_is_answered_with_the_history_of_its_own_branch(world):
    world.language.reply = lambda request: f"On {request.messages[-1].content}."
    posted = []
    for text in ("one", "two"):
        posted.append(await post(world, text))
        await world.ended(posted[-1].run.id)
    edited = await post(world, "two, said otherwise", edits=posted[1].question.id)
    await world.ended(edited.run.id)
    assert said_before(world, -1) == ["one", "On one.", "two, said otherwise"]
    older = await post(world, "three", parent_id=posted[1].reply.id)
    await world.ended(older.run.id)
    assert said_before(world, -1) == ["one", "On one.", "two", "On two.", "three"]
