"""What is deleted is in no table any more, the command log included; an id that is asked again says so."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perenne.errors import Conflict, NotFound, PerenneError
from perenne.messages import commands as c
from perenne.messages.event_batch import EventBatch, NewEvent
from perenne.messages.records import Citation, RunOptions
from tests.unit.store.store_house import SPACE, StoreHouse

SECRET = "appendicitis"  # a word that only its owner may know
TALK, FILE, LINES = "talk", "file", "lines"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    made.do(c.CreateProject, project_id="p", name="p")
    yield made
    made.close()


def where_it_is(house: StoreHouse, word: str = SECRET) -> set[str]:
    """The tables of which a row holds the word (full text keeps terms, not texts, and is left out)."""
    found: set[str] = set()
    for (table,) in house.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'chunk_terms%'"):
        columns = [name for (name,) in house.rows(f"SELECT name FROM pragma_table_info('{table}')")]
        anywhere = " OR ".join(f'instr(CAST("{column}" AS TEXT), ?)' for column in columns)
        if house.rows(f'SELECT count(*) FROM "{table}" WHERE {anywhere}', *[word] * len(columns))[0][0]:
            found.add(table)
    return found


def a_talk(house: StoreHouse) -> list[tuple[c.Command, Any]]:
    """Every command about a conversation, the word in each of its texts; with its first result."""
    options = RunOptions(history=(("user", f"my {SECRET}"),), stop=(SECRET,))
    citation = Citation(number=1, document_id="d", chunk_id=1, title=SECRET, start=0, end=1, quote=SECRET)
    end = c.CloseRun(state="failed", text=f"{SECRET} [1]", citations=(citation,), reason=f"{SECRET} is no answer")
    said = EventBatch.of([NewEvent(kind="delta", data={"text": SECRET})])
    ana = {"user_id": "ana"}
    ids = {"conversation_id": TALK, "message_id": "q", "reply_id": "a", "run_id": "run"}
    again = {"message_id": "q", "reply_id": "b", "run_id": "again"}
    return done(
        house,
        c.CreateConversation(command_id="t1", **ana, conversation_id=TALK, project_id="p", title=SECRET),
        c.PostMessage(command_id="t2", **ana, **ids, text=f"what of my {SECRET}?", options=options),
        c.StartAttempt(command_id="t3", user_id=c.SYSTEM_USER, run_id="run", host="h"),
        c.AppendRunEvents(command_id="t4", user_id=c.SYSTEM_USER, run_id="run", host="h", events=said),
        c.AppendRunEvents(command_id="t5", user_id=c.SYSTEM_USER, run_id="run", host="h", events=said, close=end),
        c.RegenerateReply(command_id="t6", **ana, **again, options=options),
        c.StopRun(command_id="t7", **ana, run_id="again"),
        c.RenameConversation(command_id="t8", **ana, conversation_id=TALK, title=f"{SECRET} again"),
    )


def done(house: StoreHouse, *commands: c.Command) -> list[tuple[c.Command, Any]]:
    results: list[tuple[c.Command, Any]] = []
    for command in commands:
        (outcome,) = house.send(command)
        assert outcome.error is None, (command, outcome.error)
        results.append((command, outcome.value))
    return results


def files(house: StoreHouse) -> list[tuple[c.Command, Any]]:
    """Every command about a file and about a file of lines, the word in each of its texts."""
    ana, named = {"user_id": "ana"}, {"filename": f"{SECRET}.pdf", "size_bytes": 1}
    house.do(c.CreateProject, project_id="second", name="second")
    results = done(
        house,
        c.AddDocument(
            command_id="f1",
            **ana,
            **named,
            document_id=FILE,
            job_id="j",
            project_id="p",
            title=SECRET,
            external_id=SECRET,
            blob_hash="b",
        ),
        c.AddJsonLines(command_id="f2", **ana, **named, job_id=LINES, project_id="p", blob_hash="c"),
        c.LinkDocument(command_id="f3", **ana, document_id=FILE, project_id="second"),
        c.UnlinkDocument(command_id="f4", **ana, document_id=FILE, project_id="second"),
    )
    held = {job.id: job for job in house.system(c.LeaseJobs, worker="w", limit=10, lease_s=30)}
    chunk = c.NewChunk(ordinal=0, text=SECRET, start=0, end=len(SECRET))
    part = c.IndexedDocument(document_id=FILE, title=SECRET, text=SECRET, chunks=(chunk,), vectors=b"")
    why = {"reason": f"{SECRET} cannot be read", "details": {"name": SECRET}, "result": {"lines": [SECRET]}}
    by = {"user_id": c.SYSTEM_USER, "job_id": "j", "lease_token": held["j"].lease_token, "lease_s": 30}
    end = {"user_id": c.SYSTEM_USER, "state": "refused", **why}
    stored = {"project_id": "p", "space": SPACE, "documents": (part,), "checkpoint": f"after {SECRET}"}
    return results + done(
        house,
        c.StoreDocuments(command_id="f5", **by, **stored),
        c.RenewJob(command_id="f6", **by, done=1),
        c.FinishJob(command_id="f7", job_id="j", lease_token=held["j"].lease_token, **end),
        c.FinishJob(command_id="f8", job_id=LINES, lease_token=held[LINES].lease_token, **end),
        c.RetryJob(command_id="f9", **ana, job_id=LINES),
        c.CancelJob(command_id="f10", **ana, job_id=LINES),
    )


def test_the_command_log_keeps_no_texts(house: StoreHouse) -> None:
    # A question stayed in the log for seven days after its conversation was deleted; the history that came with a question was
    # written there once for every few words of the answer.
    a_talk(house)
    files(house)
    assert "messages" in where_it_is(house)
    assert "commands" not in where_it_is(house)


def test_a_deleted_conversation_is_nowhere_and_its_ids_say_so(house: StoreHouse) -> None:
    sent = a_talk(house)
    house.do(c.DeleteConversation, command_id="gone", conversation_id=TALK)
    assert where_it_is(house) == set()
    for command, _ in sent:
        (outcome,) = house.send(command)
        assert isinstance(outcome.error, NotFound), command
        assert SECRET not in str(outcome.error)
    assert house.do(c.DeleteConversation, command_id="gone", conversation_id=TALK) == c.Deleted(id=TALK)
    assert where_it_is(house) == set()


def test_the_same_ids_have_their_first_results_while_what_they_tell_of_is_there(house: StoreHouse) -> None:
    for command, first in a_talk(house)[1:]:
        (outcome,) = house.send(command)
        assert (outcome.error, outcome.value) == (None, first), command
    for command, first in files(house)[:4]:
        (outcome,) = house.send(command)
        assert outcome.error is None
        assert replaced(outcome.value, reason=None, details={}) == replaced(first, reason=None, details={}), command


def replaced(answer: Any, **fields: Any) -> Any:
    if isinstance(answer, c.DocumentAdded):
        return replace(answer, document=replace(answer.document, **fields), job=replaced(answer.job, **fields))
    held = {name: value for name, value in fields.items() if hasattr(answer, name)}
    return replace(answer, **held, **({"result": {}} if hasattr(answer, "result") else {}))


def test_a_name_that_was_changed_is_told_as_it_is_now(house: StoreHouse) -> None:
    made = house.do(c.CreateConversation, command_id="x", conversation_id="c", title="before")
    house.do(c.RenameConversation, conversation_id="c", title="after")
    again = house.do(c.CreateConversation, command_id="x", conversation_id="c", title="before")
    assert again == replace(made, title="after")


def test_a_deleted_document_is_nowhere_and_its_ids_say_so(house: StoreHouse) -> None:
    sent = files(house)[:4]
    house.do(c.DeleteProject, project_id="p")
    assert where_it_is(house) == set()
    errors: dict[str, PerenneError | None] = {}
    for command, _ in sent:
        (outcome,) = house.send(command)
        errors[type(command).__name__] = outcome.error
        assert SECRET not in repr(outcome)
    assert errors.pop("AddJsonLines") is None, "its job is still listed, without the name of its file"
    assert all(isinstance(error, NotFound) for error in errors.values())


def test_a_refusal_keeps_no_name(house: StoreHouse) -> None:
    house.do(c.CreateProject, project_id="x", name=SECRET)
    with pytest.raises(Conflict):
        house.do(c.CreateProject, project_id="y", name=SECRET)
    with pytest.raises(Conflict):
        house.do(c.RenameProject, project_id="p", name=SECRET)
    house.do(c.DeleteProject, project_id="x")
    assert where_it_is(house) == set()


def test_an_answer_that_cannot_be_read_is_the_trouble_of_one(house: StoreHouse) -> None:
    # A row of another version took the whole transaction with it, again and again.
    command = c.CreateConversation(command_id="x", user_id="ana", conversation_id="c", title="t")
    house.send(command)
    raw: Any = house.writer._connection().connection.driver_connection
    raw.execute("""UPDATE commands SET result = '["Thought",{"id":"c"}]' WHERE id = 'x'""")
    odd, plain = house.send(command, c.CreateConversation(command_id="y", user_id="ana", conversation_id="d", title="t"))
    assert "cannot be read" in str(odd.error)
    assert plain.error is None
