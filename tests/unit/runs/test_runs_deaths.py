"""Runs live through the deaths of their host, their model and their readers; a stop is a stop."""

import asyncio

from perenne import names
from perenne.ids import new_id
from perenne.messages.commands import RegenerateReply
from perenne.testing import FakeLanguage, eventually

USER = "ana"
LONG = "The steam engine was built by Robert Hale in 1854. " + "It drove forty looms until the fire of 1902. " * 12
QUESTION = "Who built the steam engine of the mill?"


def kinds(events):
    return [event.kind for event in events]


def shown(events):
    text = ""
    for event in events:
        text = "" if event.kind == "restarted" else text + (event.data["text"] if event.kind == "delta" else "")
    return text


async def saying(world, run_id):
    """Wait until some of the answer is on disk."""

    async def words():
        return "delta" in kinds(await world.events(run_id))

    await eventually(words)


async def test_a_host_killed_mid_answer_goes_on_from_the_text_that_was_seen(world):
    world.answer, world.language.token_s = LONG.strip(), 0.02
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    await world.kill_host()
    before = shown(await world.events(posted.run.id))
    assert 0 < len(before) < len(LONG.strip())
    searches = sum(call[1] == "search_text" for call in world.directory.calls)
    world.language.token_s = 0.0
    world.start_host()
    events = await world.ended(posted.run.id)

    assert shown(events) == LONG.strip()
    assert "restarted" not in kinds(events)
    assert world.language.requests[-1].prefix == before
    assert sum(call[1] == "search_text" for call in world.directory.calls) == searches, (
        "what was retrieved is not retrieved again"
    )
    assert kinds(events).count("sources") == 1
    assert kinds(events).count("done") == 1


async def test_who_takes_an_answer_over_gives_the_model_the_same_to_read(world):
    world.answer, world.language.token_s = LONG.strip(), 0.02
    world.language.context_tokens = 520  # room for some sentences of the passages
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    await world.kill_host()
    world.language.token_s, world.language.context_tokens = 0.0, 4096  # another would choose more now
    world.start_host()
    await world.ended(posted.run.id)

    first, second = world.language.requests[0], world.language.requests[-1]
    assert "Robert Hale" in first.messages[0].content
    assert "forty looms" not in first.messages[0].content, "not everything was read"
    assert second.prefix
    assert second.messages == first.messages


async def test_a_host_killed_mid_answer_says_that_it_begins_again_where_the_engine_cannot_continue(world):
    from perenne.errors import InvalidRequest

    world.answer, world.language.token_s = LONG.strip(), 0.02
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    await world.kill_host()

    def refuses_prefix(request):
        if request.prefix:
            raise InvalidRequest("this engine can't continue a text", "prefix")
        return world._reply(request)

    world.language.reply, world.language.token_s = refuses_prefix, 0.0
    world.start_host()
    events = await world.ended(posted.run.id)

    assert kinds(events).count("restarted") == 1
    assert shown(events) == LONG.strip()


async def test_a_host_killed_before_it_answered_at_all_answers_when_it_is_back(world):
    await world.kill_host()
    posted = await world.post(QUESTION)
    world.start_host()
    assert (await world.ended(posted.run.id))[-1].kind == "done"


async def test_an_older_host_that_wakes_up_late_writes_nothing(world):
    world.answer, world.language.token_s = LONG.strip(), 0.05
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    old = world.host
    world.start_host()
    world.language.token_s = 0.0
    events = await world.ended(posted.run.id)
    try:
        await eventually(lambda: old.desk.queue == 0, within_s=10)
        assert kinds(events).count("done") == 1
        assert len(await world.events(posted.run.id)) == len(events)
    finally:
        await old.close()


async def test_a_model_that_dies_mid_stream_is_asked_to_go_on(world):
    world.answer, world.language.token_s = LONG.strip(), 0.02
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    world.directory.kill(names.LANGUAGE)

    async def told():
        return any(e.kind == "status" and e.data["stage"] == "model" for e in await world.events(posted.run.id))

    await eventually(told)
    world.language.token_s = 0.0
    world.directory.revive(names.LANGUAGE)
    events = await world.ended(posted.run.id)

    assert shown(events) == LONG.strip()
    assert events[-1].kind == "done"


async def test_a_model_that_stays_away_ends_the_run_with_an_error(world, monkeypatch):
    monkeypatch.setattr("actors.runs.model.LOADING_WAIT_S", 0.2)
    world.answer, world.language.token_s = LONG.strip(), 0.02
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    world.directory.kill(names.LANGUAGE)
    events = await world.ended(posted.run.id)

    assert events[-1].kind == "error"
    assert (await world.run(posted.run.id)).state == "failed"


async def test_stopping_keeps_what_was_said_and_frees_the_engine(world):
    world.answer, world.language.token_s = LONG.strip(), 0.05
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    made = world.language.steps
    await world.stop(posted.run.id)
    await eventually(lambda: world.language.running == 0)
    assert world.language.steps - made <= 1.0 / world.language.token_s, "within a second by the engine's clock"
    assert world.language.closed_early == 1
    events = await world.ended(posted.run.id)

    assert events[-1].data["state"] == "stopped"
    assert events[-1].data["finish_reason"] == "cancelled"
    assert LONG.startswith(events[-1].data["text"].rstrip())
    assert events[-1].data["text"].rstrip() == shown(events).rstrip()


async def test_what_is_kept_of_a_stopped_answer_is_what_was_shown_though_words_waited_to_be_committed(world, monkeypatch):
    # The soak found it: the words of the last 70 ms were in the text and in no event.
    monkeypatch.setattr("actors.runs.journal.DELTA_S", 30.0)
    world.answer, world.language.token_s = LONG.strip(), 0.05
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    made = world.language.steps
    await eventually(lambda: world.language.steps > made + 2)
    await world.stop(posted.run.id)
    events = await world.ended(posted.run.id)
    assert events[-1].data["state"] == "stopped"
    assert events[-1].data["text"] == shown(events)


STEP_S = 0.01


class Reading(FakeLanguage):
    """Reads its prompt for ever and says nothing."""

    async def stream(self, request):
        self.running += 1
        try:
            while True:
                await asyncio.sleep(STEP_S)
                self.steps += 1
            yield
        finally:
            self.running -= 1


async def test_stopping_while_the_prompt_is_read_frees_the_engine_within_a_second(world):
    engine = Reading()
    world.directory.put(names.LANGUAGE, engine)
    posted = await world.post(QUESTION)
    await eventually(lambda: engine.steps > 5)
    made = engine.steps
    await world.stop(posted.run.id)
    await eventually(lambda: engine.running == 0)
    assert engine.steps - made <= 1.0 / STEP_S, "within a second by the engine's clock"
    assert (await world.ended(posted.run.id))[-1].data["state"] == "stopped"


async def test_a_model_that_hangs_altogether_keeps_no_run_from_stopping(world):
    world.directory.hang(names.LANGUAGE)
    posted = await world.post(QUESTION)

    async def begun():
        return (await world.run(posted.run.id)).state == "running"

    await eventually(begun)
    await world.stop(posted.run.id)
    assert (await world.ended(posted.run.id))[-1].data["state"] == "stopped"
    world.directory.revive(names.LANGUAGE)


async def test_a_stop_that_came_while_the_host_was_away_is_kept(world):
    from perenne.messages.commands import StopRun

    world.answer, world.language.token_s = LONG.strip(), 0.05
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    await world.kill_host()
    await world.store.write(StopRun(command_id=new_id("c"), user_id=USER, run_id=posted.run.id))
    asked = len(world.language.requests)
    world.start_host()
    events = await world.ended(posted.run.id)

    assert events[-1].data["state"] == "stopped"
    assert events[-1].data["text"], "what was seen stays"
    assert len(world.language.requests) == asked


async def test_regenerating_gives_a_new_answer_to_the_same_question(world):
    first = await world.post(QUESTION)
    await world.ended(first.run.id)
    world.answer = "Robert Hale built the steam engine in 1854."
    again = await world.store.write(
        RegenerateReply(
            command_id=new_id("c"), user_id=USER, message_id=first.reply.id, reply_id=new_id("msg"), run_id=new_id("run")
        )
    )
    await world.host.start(again.run.id)
    await world.ended(again.run.id)
    page = await world.store.read("messages", user_id=USER, conversation_id=first.run.conversation_id, limit=10, after=None)
    assert [message.text for message in page.items] == [QUESTION, "Robert Hale built the steam engine in 1854. [1]"]


async def test_many_runs_at_once_are_all_answered_and_wait_with_a_word(world):
    world.language.token_s = 0.01
    posted = [await world.post(QUESTION) for _ in range(6)]
    ended = await asyncio.gather(*(world.ended(one.run.id, within_s=20) for one in posted))

    assert all(events[-1].kind == "done" for events in ended)
    assert any(event.kind == "status" and event.data["stage"] == "queued" for events in ended for event in events)


async def test_a_writer_that_is_away_for_a_moment_costs_no_word(world):
    world.answer, world.language.token_s = LONG.strip(), 0.02
    posted = await world.post(QUESTION)
    await saying(world, posted.run.id)
    world.directory.kill(names.STORE_WRITER)
    seen = len(await world.events(posted.run.id))
    await asyncio.wait({asyncio.create_task(eventually(lambda: False, 0.4))})
    assert len(await world.events(posted.run.id)) == seen
    world.directory.revive(names.STORE_WRITER)
    events = await world.ended(posted.run.id)

    assert shown(events) == LONG.strip()
