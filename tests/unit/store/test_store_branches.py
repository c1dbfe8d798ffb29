"""Branches of a conversation, and the order in which its answers are written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.store import talks
from actors.store.changed import list_changes
from perenne.errors import Conflict, InvalidRequest, NotFound
from perenne.messages import commands as c
from perenne.messages.event_batch import EventBatch
from perenne.messages.records import Message
from tests.unit.store.store_house import StoreHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


def post(house: StoreHouse, n: int | str, conversation_id: str = "talk", **fields: object) -> c.MessagePosted:
    ids = {"message_id": f"q{n}", "reply_id": f"a{n}", "run_id": f"run{n}"}
    return house.do(c.PostMessage, "ana", conversation_id=conversation_id, text=f"question {n}", **ids, **fields)


def again(house: StoreHouse, message_id: str, n: str) -> c.MessagePosted:
    return house.do(c.RegenerateReply, message_id=message_id, reply_id=f"a{n}", run_id=f"run{n}")


def answer(house: StoreHouse, n: int | str) -> None:
    house.system(c.StartAttempt, run_id=f"run{n}", host="h")
    close = c.CloseRun(state="done", text=f"answer {n}")
    house.system(c.AppendRunEvents, run_id=f"run{n}", host="h", events=EventBatch(), close=close)


def branch(house: StoreHouse, leaf_id: str | None = None) -> tuple[Message, ...]:
    return house.ask(talks.list_messages, "ana", "talk", 50, None, leaf_id).items


def ids(messages: tuple[Message, ...]) -> str:
    return " ".join(message.id for message in messages)


def test_an_edited_question_begins_a_branch_and_the_old_one_stays_whole(house: StoreHouse) -> None:
    for n in (1, 2, 3):
        post(house, n)
        answer(house, n)
    edited = post(house, "2b", edits="q2")
    assert (edited.question.parent_id, edited.reply.parent_id) == ("a1", "q2b")
    assert ids(branch(house)) == "q1 a1 q2b a2b"
    assert house.ask(talks.find_conversation, "ana", "talk").leaf_id == "a2b"
    assert [message.siblings for message in branch(house)] == [("q1",), ("a1",), ("q2", "q2b"), ("a2b",)]
    old = branch(house, "a3")
    assert ids(old) == "q1 a1 q2 a2 q3 a3"
    assert [message.text for message in old[3:]] == ["answer 2", "question 3", "answer 3"]
    assert ids(branch(house, "q2")) == "q1 a1 q2"

    head = house.writer.head
    assert house.do(c.ChooseBranch, message_id="q2").leaf_id == "a3"
    assert [(one.entity, one.id, one.op) for one in house.ask(list_changes, "ana", head, 9).items] == [
        ("conversation", "talk", "update")
    ]
    assert ids(branch(house)) == "q1 a1 q2 a2 q3 a3"
    post(house, 4)
    assert ids(branch(house)) == "q1 a1 q2 a2 q3 a3 q4 a4"
    assert ids(branch(house, "a2b")) == "q1 a1 q2b a2b"


def test_the_first_question_is_edited_too_and_an_answer_of_any_branch_is_gone_on_from(house: StoreHouse) -> None:
    post(house, 1)
    answer(house, 1)
    post(house, 2, edits="q1")
    assert ids(branch(house)) == "q2 a2"
    assert branch(house)[0].siblings == ("q1", "q2")
    post(house, 3, parent_id="a1")
    assert ids(branch(house)) == "q1 a1 q3 a3"


def test_an_answer_made_again_stands_beside_the_first_with_what_followed_it(house: StoreHouse) -> None:
    for n in (1, 2):
        post(house, n)
        answer(house, n)
    for message_id, n in (("q1", "1b"), ("a1b", "1c")):
        made = again(house, message_id, n)
        assert (made.question.id, made.run.question_id) == ("q1", "q1")
    assert ids(branch(house)) == "q1 a1c"
    assert branch(house)[1].siblings == ("a1", "a1b", "a1c")
    assert house.ask(talks.find_run, "ana", "run1b").state == "stopped", "one that is still written makes room"
    assert house.ask(talks.find_run, "ana", "run1").state == "done"
    assert house.do(c.ChooseBranch, message_id="a1").leaf_id == "a2"


def test_what_is_no_place_in_the_conversation_is_refused(house: StoreHouse) -> None:
    post(house, 1)
    post(house, 9, "other")
    for fields in ({"edits": "q9"}, {"parent_id": "a9"}, {"edits": "nothing"}, {"parent_id": "nothing"}):
        with pytest.raises(NotFound):
            post(house, 2, **fields)
        with pytest.raises(NotFound):
            post(house, 2, "one that is not there", **fields)
    with pytest.raises(InvalidRequest, match="expected a question"):
        post(house, 2, edits="a1")
    with pytest.raises(InvalidRequest, match="expected an answer"):
        post(house, 2, parent_id="q1")
    with pytest.raises(InvalidRequest, match="got both"):
        post(house, 2, parent_id="a1", edits="q1")
    with pytest.raises(NotFound):
        house.do(c.ChooseBranch, user_id="bob", message_id="q1")
    with pytest.raises(NotFound):
        house.do(c.RegenerateReply, user_id="bob", message_id="a1", reply_id="x", run_id="x")
    for leaf_id in ("a9", "nothing"):
        with pytest.raises(NotFound):
            branch(house, leaf_id)
    assert ids(branch(house)) == "q1 a1"


def test_all_pages_are_of_the_branch_that_the_first_was_of(house: StoreHouse) -> None:
    for n in (1, 2):
        post(house, n)
        answer(house, n)
    first = house.ask(talks.list_messages, "ana", "talk", 3, None)
    post(house, "1b", edits="q1")
    rest = house.ask(talks.list_messages, "ana", "talk", 3, first.next)
    assert ids(first.items + rest.items) == "q1 a1 q2 a2"
    assert rest.next is None


def test_a_deleted_conversation_takes_every_branch_along(house: StoreHouse) -> None:
    post(house, 1)
    again(house, "q1", "1b")
    post(house, 2, edits="q1")
    house.do(c.DeleteConversation, conversation_id="talk")
    for table in ("conversations", "messages", "runs", "run_events"):
        assert house.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def stages(house: StoreHouse, run_id: str) -> list[object]:
    return [event.data.get("stage") for event in house.ask(talks.list_run_events, "ana", run_id, 0, 9)]


def ready(house: StoreHouse) -> list[str]:
    return [run.id for run in house.ask(talks.open_runs, 10)]


def test_an_answer_waits_for_all_before_it_on_its_branch_and_says_so(house: StoreHouse) -> None:
    for n in (1, 2, 3):
        post(house, n)
    post(house, 9, "other")
    assert [stages(house, f"run{n}") for n in (1, 2, 3, 9)] == [[], ["queued"], ["queued"], []]
    assert ready(house) == ["run1", "run9"]
    for run_id in ("run2", "run3"):
        with pytest.raises(Conflict, match="waits for run"):
            house.system(c.StartAttempt, run_id=run_id, host="h")
    house.do(c.StopRun, run_id="run2")
    assert ready(house) == ["run1", "run9"], "the third waits for the first still"
    with pytest.raises(Conflict, match="waits for run run1"):
        house.system(c.StartAttempt, run_id="run3", host="h")
    answer(house, 1)
    assert ready(house) == ["run3", "run9"]
    answer(house, 3)
    assert ids(branch(house)) == "q1 a1 q2 a2 q3 a3"


def test_branches_do_not_wait_for_one_another(house: StoreHouse) -> None:
    post(house, 1)
    answer(house, 1)
    post(house, 2)
    post(house, "2b", edits="q2")
    assert ready(house) == ["run2", "run2b"]
    assert stages(house, "run2b") == []
