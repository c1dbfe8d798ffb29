"""People, conversations and runs."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.store import reading, talks
from actors.store.prepared import ROWS_AT_ONCE
from perenne import names
from perenne.errors import CommandReused, Conflict, InvalidRequest, LeaseLost, NotFound, PerenneError
from perenne.messages import commands as c
from perenne.messages.event_batch import EventBatch, NewEvent
from perenne.messages.records import Citation, RunOptions, Usage
from tests.unit.store.store_house import StoreHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


def post(
    house: StoreHouse, n: int = 1, conversation_id: str = "talk", user_id: str = "ana", **fields: object
) -> c.MessagePosted:
    given = {"text": f"question {n}"} | fields
    ids = {"message_id": f"q{n}", "reply_id": f"a{n}", "run_id": f"run{n}"}
    return house.do(c.PostMessage, user_id, conversation_id=conversation_id, **ids, **given)


def append(house: StoreHouse, run_id: str, *texts: str, host: str = "h", close: c.CloseRun | None = None) -> c.Run:
    events = EventBatch.of(NewEvent(kind="delta", data={"text": text}) for text in texts)
    return house.system(c.AppendRunEvents, run_id=run_id, host=host, events=events, close=close)


def shown(house: StoreHouse, conversation_id: str = "talk", user_id: str = "ana") -> list[tuple[str, str, str]]:
    page = house.ask(talks.list_messages, user_id, conversation_id, 50, None)
    return [(each.id, each.text, each.state) for each in page.items]


def test_a_key_is_found_by_its_hash_and_says_that_it_was_revoked(house: StoreHouse) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    fields = {"for_user_id": "ana", "label": "laptop", "scopes": ("read", "write")}
    made = house.do(c.CreateKey, key_id="k1", key_hash=digest, project_id="ana-home", **fields)
    assert house.ask(reading.key_by_hash, digest) == made
    assert house.ask(reading.key_by_hash, "0" * 64) is None
    with pytest.raises(Conflict):
        house.do(c.CreateKey, key_id="k2", key_hash=digest, **fields)
    with pytest.raises(NotFound):
        house.do(c.CreateKey, key_id="k2", key_hash="1" * 64, project_id="bob-home", **fields)
    with pytest.raises(InvalidRequest):
        house.do(c.CreateKey, key_id="k2", key_hash="the secret itself", **fields)
    with pytest.raises(NotFound):
        house.do(c.RevokeKey, user_id="bob", key_id="k1")
    revoked = house.do(c.RevokeKey, key_id="k1")
    assert revoked.revoked_at == house.clock.now()
    assert house.ask(reading.list_keys, "ana") == (revoked,)
    assert house.ask(reading.list_keys, "bob") == ()


def test_a_name_is_a_projects_own_within_its_user(house: StoreHouse) -> None:
    with pytest.raises(Conflict):
        house.do(c.CreateProject, project_id="p", name=" home ")
    house.do(c.CreateProject, project_id="p", name="work")
    with pytest.raises(Conflict):
        house.do(c.RenameProject, project_id="p", name="home")
    assert house.do(c.RenameProject, project_id="p", name="work").name == "work"
    assert house.ask(reading.find_project, "ana", "work").id == house.ask(reading.find_project, "ana", "p").id
    with pytest.raises(InvalidRequest):
        house.do(c.CreateProject, project_id="q", name="  ")
    page = house.ask(reading.list_projects, "ana", 1, None)
    assert [each.name for each in page.items] == ["home"]
    assert [each.name for each in house.ask(reading.list_projects, "ana", 5, page.next).items] == ["work"]


def test_question_empty_answer_and_run_are_there_together(house: StoreHouse) -> None:
    options = RunOptions(temperature=0.5, stop=("x",), history=(("user", "before"),))
    posted = post(house, project_id="ana-home", options=options)
    assert house.ask(talks.find_conversation, "ana", "talk").title == "question 1"
    assert shown(house) == [("q1", "question 1", "done"), ("a1", "", "queued")]
    run = house.ask(talks.find_run, "ana", "run1")
    assert run == posted.run
    assert (run.state, run.project_id, run.options) == ("queued", "ana-home", options)
    assert house.ask(talks.open_runs, 10) == (run,)
    with pytest.raises(InvalidRequest):
        post(house, 2, text=" ")
    with pytest.raises(InvalidRequest):
        post(house, 2, text="x" * (names.MESSAGE_CHARS_MAX + 1))


def test_a_run_goes_from_its_host_into_its_message(house: StoreHouse) -> None:
    post(house)
    assert house.system(c.StartAttempt, run_id="run1", host="h").attempt == 1
    assert append(house, "run1", "a", "b").events == 2
    citation = Citation(number=1, document_id="d", chunk_id=7, title="t", start=0, end=3, quote="abc")
    usage = Usage(prompt_tokens=5, completion_tokens=2)
    closed = append(house, "run1", "c", close=c.CloseRun(state="done", text="abc [1]", citations=(citation,), usage=usage))
    assert (closed.state, closed.events, closed.usage) == ("done", 3, usage)
    events = house.ask(talks.list_run_events, "ana", "run1", 1, 100)
    assert [(event.seq, event.data["text"]) for event in events] == [(2, "b"), (3, "c")]
    (_, reply) = house.ask(talks.list_messages, "ana", "talk", 10, None).items
    assert (reply.text, reply.state, reply.citations, reply.run_id) == ("abc [1]", "done", (citation,), "run1")
    with pytest.raises(Conflict):
        append(house, "run1", "late")
    with pytest.raises(Conflict):
        house.system(c.StartAttempt, run_id="run1", host="h")
    assert house.ask(talks.open_runs, 10) == ()


def test_more_events_than_one_statement_carries_are_stored_whole_and_in_order(house: StoreHouse) -> None:
    post(house)
    house.system(c.StartAttempt, run_id="run1", host="h")
    said = [f"una línea\nmás {n}" for n in range(3 * ROWS_AT_ONCE + 1)]
    assert append(house, "run1", *said).events == len(said)
    assert append(house, "run1", "last").events == len(said) + 1
    events = house.ask(talks.list_run_events, "ana", "run1", 0, 1_000)
    assert [(event.seq, event.kind, event.data["text"]) for event in events] == [
        (n, "delta", text) for n, text in enumerate([*said, "last"], 1)
    ]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        (EventBatch(b"delta"), "event 1: expected .* got 0 bytes"),
        (EventBatch(b'delta {"text":"a"}\ndelta {"text":"b"'), "event 2: expected .* a JSON object; got 11 bytes"),
        (EventBatch(b'delta ["text"]'), "expected .* a JSON object"),
        (EventBatch(b'delta {"text":"\xff"}'), "expected .* a JSON object"),
        (EventBatch(b'delta {"text":"a"}\n'), "event 2: .* got the kind b''"),
        (EventBatch(b'shout {"text":"a"}'), "expected one of status, .* got the kind b'shout'"),
        (EventBatch(b"heartbeat {}"), "got the kind b'heartbeat'"),
        (EventBatch("delta {}"), "expected an EventBatch of bytes"),  # type: ignore[arg-type]
        ((NewEvent(kind="delta", data={}),), "expected an EventBatch of bytes, got tuple"),
    ],
)
def test_events_that_are_none_are_refused_alone(house: StoreHouse, events: EventBatch, why: str) -> None:
    post(house)
    house.system(c.StartAttempt, run_id="run1", host="h")
    bad = c.AppendRunEvents(command_id="bad", user_id=c.SYSTEM_USER, run_id="run1", host="h", events=events)
    good = c.StopRun(command_id="good", user_id="ana", run_id="run1")
    refused, kept = house.send(bad, good)
    assert isinstance(refused.error, InvalidRequest)
    assert re.search(why, str(refused.error))
    assert kept.error is None
    assert house.rows("SELECT count(*) FROM run_events") == [(0,)]


def test_what_no_json_holds_is_refused_where_it_is_encoded() -> None:
    with pytest.raises(InvalidRequest, match="cannot be stored"):
        EventBatch.of([NewEvent(kind="delta", data={"text": "half a sign \ud83d"})])
    assert EventBatch.of([]).rows() == []


def test_the_same_id_with_other_events_is_an_error(house: StoreHouse) -> None:
    post(house)
    house.system(c.StartAttempt, run_id="run1", host="h")
    one, other = (EventBatch.of([NewEvent(kind="delta", data={"text": text})]) for text in ("a", "b"))
    fields = {"run_id": "run1", "host": "h"}
    first = house.do(c.AppendRunEvents, c.SYSTEM_USER, "x", events=one, **fields)
    assert house.do(c.AppendRunEvents, c.SYSTEM_USER, "x", events=one, **fields) == first
    with pytest.raises(CommandReused):
        house.do(c.AppendRunEvents, c.SYSTEM_USER, "x", events=other, **fields)
    assert house.rows("SELECT count(*) FROM run_events") == [(1,)]


def test_only_the_latest_host_appends(house: StoreHouse) -> None:
    post(house)
    with pytest.raises(LeaseLost):
        append(house, "run1", "too early")
    house.system(c.StartAttempt, run_id="run1", host="old")
    append(house, "run1", "a", host="old")
    assert house.system(c.StartAttempt, run_id="run1", host="new").attempt == 2
    with pytest.raises(LeaseLost):
        append(house, "run1", "b", host="old")
    assert append(house, "run1", "b", host="new").events == 2
    with pytest.raises(NotFound):
        house.do(c.StartAttempt, user_id="bob", run_id="run1", host="bob's")


def test_stopping_ends_a_queued_run_at_once_and_asks_a_running_one(house: StoreHouse) -> None:
    post(house)
    with pytest.raises(NotFound):
        house.do(c.StopRun, user_id="bob", run_id="run1")
    stopped = house.do(c.StopRun, run_id="run1")
    assert (stopped.state, stopped.events) == ("stopped", 1)
    (event,) = house.ask(talks.list_run_events, "ana", "run1", 0, 10)
    assert (event.kind, event.data["state"], event.data["message_id"]) == ("done", "stopped", "a1")
    assert house.do(c.StopRun, run_id="run1") == stopped
    post(house, 2)
    house.system(c.StartAttempt, run_id="run2", host="h")
    running = house.do(c.StopRun, run_id="run2")
    assert (running.state, running.stop_requested) == ("running", True)
    append(house, "run2", "a", close=c.CloseRun(state="stopped", text="a"))
    assert shown(house)[-1] == ("a2", "a", "stopped")


def test_a_deleted_conversation_leaves_nothing_and_its_host_finds_its_run_gone(house: StoreHouse) -> None:
    post(house)
    house.system(c.StartAttempt, run_id="run1", host="h")
    append(house, "run1", "a")
    with pytest.raises(NotFound):
        house.do(c.DeleteConversation, user_id="bob", conversation_id="talk")
    house.do(c.DeleteConversation, conversation_id="talk")
    for table in ("conversations", "messages", "runs", "run_events"):
        assert house.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    with pytest.raises(NotFound):
        append(house, "run1", "b")


def test_conversations_are_listed_by_their_last_use_and_only_to_their_user(house: StoreHouse) -> None:
    for n, name in enumerate(("one", "two", "three"), 1):
        house.clock.advance(1)
        post(house, n, name, project_id="ana-home" if n < 3 else None)
    house.clock.advance(1)
    post(house, 4, "one")
    page = house.ask(talks.list_conversations, "ana", None, 2, None)
    assert [each.id for each in page.items] == ["one", "three"]
    assert [each.id for each in house.ask(talks.list_conversations, "ana", None, 2, page.next).items] == ["two"]
    assert [each.id for each in house.ask(talks.list_conversations, "ana", "ana-home", 9, None).items] == ["one", "two"]
    assert house.ask(talks.list_conversations, "bob", None, 9, None).items == ()
    for question in (talks.find_conversation, talks.find_run):
        with pytest.raises(NotFound):
            house.ask(question, "bob", "one" if question is talks.find_conversation else "run1")
    with pytest.raises(NotFound):
        house.ask(talks.list_messages, "bob", "one", 10, None)
    with pytest.raises(NotFound):
        house.ask(talks.list_run_events, "bob", "run1", 0, 10)
    with pytest.raises(NotFound):
        post(house, 9, "one", user_id="bob")
    first = house.ask(talks.list_messages, "ana", "one", 3, None)
    rest = house.ask(talks.list_messages, "ana", "one", 3, first.next)
    assert [each.id for each in first.items + rest.items] == ["q1", "a1", "q4", "a4"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path_factory.mktemp("runs")).people()
    yield made
    made.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["start", "append", "close", "stop"]), st.sampled_from(["one", "two"]), st.integers(0, 3)),
        max_size=12,
    )
)
def test_events_have_no_gaps_and_a_run_closes_once(shared: StoreHouse, steps: list[tuple[str, str, int]]) -> None:
    n = shared.writer.head + 1_000
    post(shared, n, f"talk{n}")
    run_id, host, attempts = f"run{n}", None, 0
    for step, who, count in steps:
        before = shared.ask(talks.find_run, "ana", run_id)
        is_open = before.state in ("queued", "running")
        refusal: PerenneError | None = None
        try:
            if step == "start":
                after = shared.system(c.StartAttempt, run_id=run_id, host=who)
                host, attempts = who, attempts + 1
                assert after.attempt == attempts
            elif step == "stop":
                after = shared.do(c.StopRun, run_id=run_id)
                assert after.events == before.events + (before.state == "queued")
            else:
                close = c.CloseRun(state="done", text="all") if step == "close" else None
                after = append(shared, run_id, *("x" for _ in range(count)), host=who, close=close)
                assert host == who
                assert after.events == before.events + count
            assert is_open or step == "stop"
        except PerenneError as error:
            refusal, after = error, shared.ask(talks.find_run, "ana", run_id)
        if refusal is not None:
            assert after == before
            assert isinstance(refusal, LeaseLost if is_open else Conflict)
        if not is_open:
            assert after == before
    events = shared.ask(talks.list_run_events, "ana", run_id, 0, 500)
    assert [event.seq for event in events] == list(range(1, shared.ask(talks.find_run, "ana", run_id).events + 1))
