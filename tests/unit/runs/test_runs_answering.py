"""Answers: what is shown in which order, what is cited, and what is declined."""

import asyncio

import pytest

from perenne import names
from perenne.errors import NotFound
from perenne.following import follow_run
from perenne.messages.search import SearchRequest
from perenne.testing import eventually

USER = "ana"


def kinds(events):
    return [event.kind for event in events]


async def test_sources_are_shown_before_the_first_word_and_citations_open_the_very_passage(world):
    posted = await world.post("Who built the steam engine of the mill?")
    events = await world.ended(posted.run.id)

    order = kinds(events)
    assert order.index("sources") < order.index("delta") < order.index("citations") < order.index("done")
    done = events[-1].data
    assert done["grounded"] is True
    assert done["text"] == "The steam engine was built by Robert Hale in 1854. [1]"
    (citation,) = done["citations"]
    sources = next(event for event in events if event.kind == "sources").data["hits"]
    assert sources[citation["number"] - 1]["chunk_id"] == citation["chunk_id"]
    text = await world.store.read(
        "document_text", user_id=USER, document_id=citation["document_id"], start=citation["start"], end=citation["end"]
    )
    assert text.text == citation["quote"]
    assert "Robert Hale" in citation["quote"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_what_no_passage_says_is_declined_in_the_questions_language(world):
    world.answer = "Doscientos."
    spanish = await world.ended((await world.post("¿Cuántos obreros tuvo el molino de Santa Ana?")).run.id)
    world.answer = "It had 200 workers."
    english = await world.ended((await world.post("How many workers had the steam engine mill?")).run.id)

    assert spanish[-1].data["text"] == "No he encontrado eso en tus documentos."
    assert english[-1].data["text"] == "I could not find that in your documents."
    assert spanish[-1].data["citations"] == []
    assert spanish[-1].data["grounded"] is False


async def test_an_answer_that_no_passage_holds_is_taken_back(world):
    world.answer = "Queen Victoria paid 900 pounds for a telescope in Vienna."
    events = await world.ended((await world.post("Who built the steam engine of the mill?")).run.id)

    assert "restarted" in kinds(events)
    shown = ""
    for event in events:
        shown = "" if event.kind == "restarted" else shown + (event.data["text"] if event.kind == "delta" else "")
    assert shown == events[-1].data["text"] == "I could not find that in your documents."


async def test_nothing_in_the_documents_is_declined_without_asking_the_model(world):
    events = await world.ended((await world.post("zzyzx quuxification parameters?")).run.id)

    assert events[-1].data["text"] == "I could not find that in your documents."
    assert world.language.requests == []


async def test_a_greeting_is_answered_without_a_search(world):
    world.answer = "Hello! Ask me about your documents."
    events = await world.ended((await world.post("Hello!")).run.id)

    assert "sources" not in kinds(events)
    assert events[-1].data["text"] == world.answer


async def test_a_bare_run_gets_the_callers_messages_and_nothing_else(world):
    history = (("system", "Be brief."), ("user", "2+2?"), ("assistant", "4"))
    await world.ended((await world.post("And 3+3?", grounded=False, history=history, temperature=0.1)).run.id)

    (request,) = world.language.requests
    assert [(m.role, m.content) for m in request.messages] == [*history, ("user", "And 3+3?")]
    assert request.temperature == 0.1


async def test_a_question_that_leans_on_the_talk_is_rewritten_before_the_search(world):
    world.language.reply = lambda request: (
        "When was the steam engine of the mill built?"
        if "Rewrite" in request.messages[0].content
        else "The steam engine of the mill was built in 1854."
    )
    first = await world.post("Who built the steam engine of the mill?")
    await world.ended(first.run.id)
    second = await world.post("And when?", conversation=first.run.conversation_id)
    events = await world.ended(second.run.id)

    plan = next(event.data for event in events if event.kind == "step" and event.data["name"] == "plan")
    assert plan["query"] == "When was the steam engine of the mill built?"
    assert events[-1].data["citations"]


async def test_a_model_on_its_way_says_how_far_it_is_and_then_answers(world):
    world.language.phase, world.language.progress = "downloading", 0.34
    posted = await world.post("Who built the steam engine of the mill?")

    async def told():
        return any(e.kind == "status" and e.data.get("detail") == "downloading 34 %" for e in await world.events(posted.run.id))

    await eventually(told)
    assert "sources" in kinds(await world.events(posted.run.id)), "sources need no language model"
    world.language.phase, world.language.progress = "ready", None
    assert (await world.ended(posted.run.id))[-1].kind == "done"


async def test_a_model_that_is_nowhere_is_an_error_after_the_sources_and_never_a_made_up_answer(world, monkeypatch):
    monkeypatch.setattr("actors.runs.model.MISSING_WAIT_S", 0.1)
    world.language.phase = "missing"
    events = await world.ended((await world.post("Who built the steam engine of the mill?")).run.id)

    assert events[-1].kind == "error"
    assert "Search still works" in events[-1].data["message"]
    assert "sources" in kinds(events)
    assert "delta" not in kinds(events)


async def test_search_goes_on_with_words_alone_when_the_embedder_is_away(world):
    request = SearchRequest(user_id=USER, query="Who built the steam engine?", project_id=world.project_id)
    both = await world.host.search(request)
    world.directory.kill(names.EMBEDDING)
    words = await world.host.search(request)

    assert both.parts == ("lexical", "dense")
    assert both.degraded is None
    assert words.parts == ("lexical",)
    assert "embedding" in (words.degraded or "")
    assert words.hits[0].external_id == both.hits[0].external_id == "engine"


async def test_search_goes_on_with_meaning_alone_when_words_are_away(world, monkeypatch):
    reader = world.directory._owners[names.store_reader(0)]

    async def broken(**_):
        from perenne.errors import StorageFailed

        raise StorageFailed("full text is damaged")

    monkeypatch.setattr(reader, "search_text", broken)
    found = await world.host.search(
        SearchRequest(user_id=USER, query="Who built the steam engine?", project_id=world.project_id)
    )

    assert found.parts == ("dense",)
    assert found.hits[0].external_id == "engine"


async def test_what_was_acknowledged_is_found_by_the_very_next_search(world):
    await world.add({"bridge": "The iron bridge at Calder was opened by Mary Osgood in 1871."}, {"bridge": "en"})
    found = await world.host.search(SearchRequest(user_id=USER, query="Mary Osgood bridge", project_id=world.project_id))

    assert found.hits[0].external_id == "bridge"
    assert "dense" in found.parts


async def test_another_users_project_is_not_found(world):
    with pytest.raises(NotFound):
        await world.host.search(SearchRequest(user_id="eve", query="steam engine", project_id=world.project_id))


async def test_a_follower_gets_every_event_once_live_and_from_the_middle(world):
    world.language.token_s = 0.02
    posted = await world.post("Who built the steam engine of the mill?")
    live = [event async for event in follow_run(world.directory, world.store, USER, posted.run.id)]
    later = [event async for event in follow_run(world.directory, world.store, USER, posted.run.id, after=live[3].seq)]

    stored = await world.events(posted.run.id)
    assert [(e.seq, e.kind, e.data) for e in live] == [(e.seq, e.kind, e.data) for e in stored]
    assert [e.seq for e in later] == [e.seq for e in stored[4:]]


async def test_a_follower_of_another_user_finds_no_such_run(world):
    posted = await world.post("Who built the steam engine of the mill?")
    await world.ended(posted.run.id)
    with pytest.raises(NotFound):
        async for _ in world.host.follow(posted.run.id, "eve", 0):
            pass


async def test_a_follow_gives_a_sign_of_life_each_second(world):
    world.directory.hang(names.LANGUAGE)
    posted = await world.post("Who built the steam engine of the mill?")

    async def first_heartbeat():
        async for event in world.host.follow(posted.run.id, USER, 0):
            if event.kind == "heartbeat":
                return event

    assert await asyncio.wait_for(first_heartbeat(), 4.0)
    world.directory.revive(names.LANGUAGE)


async def test_an_answer_tells_how_long_each_stage_took_since_it_was_asked(world):
    events = await world.ended((await world.post("Who built the steam engine of the mill?")).run.id)

    seconds = events[-1].data["seconds"]
    assert list(seconds) == ["route", "search", "first_word", "whole"]
    assert 0 <= seconds["route"] <= seconds["search"] <= seconds["first_word"] <= seconds["whole"] < 60
    run = await world.store.read("run_events", user_id=USER, run_id=events[-1].run_id)
    assert run[-1].data["seconds"] == seconds, "it is stored with the run"
