"""The feed as one user's clients follow it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.store import changed
from actors.store.changed import list_changes
from perenne.messages import commands as c
from perenne.messages.records import Changes
from tests.unit.store.store_house import StoreHouse, passage, unit


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


def told(house: StoreHouse, user_id: str, after: int = 0, limit: int = 500) -> Changes:
    return house.ask(list_changes, user_id, after, limit)


def said(changes: Changes) -> list[tuple[str, str, str]]:
    return [(each.entity, each.id, each.op) for each in changes.items]


def test_a_user_is_told_of_what_the_system_does_to_their_things_and_nobody_else_is(house: StoreHouse) -> None:
    after = told(house, "ana").head
    job = house.lines()
    house.store(job, passage("a", "the harbour lights", unit(1, 0)))
    house.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="done", result={})
    changes = told(house, "ana", after)
    assert {("job", job.id, "insert"), ("job", job.id, "update"), ("document", "doc-a", "insert")} <= set(said(changes))
    assert {each.entity for each in changes.items} == {"job", "document"}  # passages are for shards
    assert changes.upto == changes.head > changes.items[-1].seq - 1 > after
    others: Any = told(house, "bob", after)
    assert (others.items, others.upto) == ((), changes.head)


def test_what_is_deleted_is_told_to_whom_it_was(house: StoreHouse) -> None:
    house.store(house.lines(), passage("a", "the harbour lights", unit(1, 0)))
    house.do(c.PostMessage, conversation_id="t", message_id="q", reply_id="r", run_id="u", text="why?")
    after = told(house, "ana").head
    house.do(c.DeleteConversation, conversation_id="t")
    house.do(c.DeleteDocument, document_id="doc-a")
    assert ("conversation", "t", "delete") in said(told(house, "ana", after))
    assert ("run", "u", "delete") in said(told(house, "ana", after))
    assert ("document", "doc-a", "delete") in said(told(house, "ana", after))
    assert said(told(house, "bob", after)) == []


def test_a_watched_folder_is_told_of_when_it_comes_and_goes(house: StoreHouse) -> None:
    after = told(house, "ana").head
    project = house.do(c.CreateProject, project_id="p-watched", name="watched").id
    house.do(c.AddWatch, watch_id="w", project_id=project, path="/papers", ignore=())
    house.do(c.RemoveWatch, watch_id="w")
    assert said(told(house, "ana", after))[1:] == [("watch", "w", "insert"), ("watch", "w", "delete")]
    assert said(told(house, "bob", after)) == []


def test_messages_and_runs_say_in_which_conversation_they_are(house: StoreHouse) -> None:
    after = told(house, "ana").head
    house.do(c.PostMessage, conversation_id="t", message_id="q", reply_id="r", run_id="u", text="why?")
    house.system(c.StartAttempt, run_id="u", host="h")
    house.system(c.AppendRunEvents, run_id="u", host="h", events=c.EventBatch.of(()), close=c.CloseRun(state="done", text="so"))
    changes = told(house, "ana", after).items
    assert [each.conversation_id for each in changes if each.entity in ("message", "run")] == ["t"] * 6
    assert [(each.id, each.op) for each in changes if each.entity == "run"] == [
        ("u", op) for op in ("insert", "update", "update")
    ]


def test_pages_hold_every_change_once_however_far_behind_they_begin(house: StoreHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changed, "SPAN", 7)
    for number in range(20):
        for user in ("ana", "bob"):
            house.do(c.CreateConversation, user, conversation_id=f"{user}-{number}", title="x")
    whole: list[str] = []
    after = 0
    while True:
        page = told(house, "ana", after, limit=2)
        assert len(page.items) <= 2
        whole += [each.id for each in page.items if each.entity == "conversation"]
        if page.upto >= page.head:
            break
        assert page.upto > after
        after = page.upto
    assert whole == [f"ana-{number}" for number in range(20)]


def test_from_now_on_is_the_head_and_so_is_what_lies_beyond_it(house: StoreHouse) -> None:
    head = told(house, "ana").head
    for after in (None, head, head + 1000):
        found = house.ask(list_changes, "ana", after, 10)
        assert (found.items, found.upto, found.head) == ((), head, head)
        assert found.origin
