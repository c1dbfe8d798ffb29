"""The writer itself: one fsync for many, a savepoint each, ids remembered, and what it does when the disk says no."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from actors.store import remembered
from actors.store.mutants import Mutants
from actors.store.writer import PURGE_PERIOD_S, WriterCore
from perenne import names
from perenne.clock import ManualClock
from perenne.errors import Busy, CommandReused, Conflict, InvalidRequest, NotFound, StorageFailed, TooLarge, Unavailable
from perenne.messages import commands as c
from tests.unit.store.store_house import StoreHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path).people()
    yield made
    made.close()


def conversation(id: str, user_id: str = "ana", command_id: str | None = None) -> c.CreateConversation:
    return c.CreateConversation(command_id=command_id or f"cmd-{id}", user_id=user_id, conversation_id=id, title=id)


def held(house: StoreHouse) -> threading.Event:
    """Keeps the writer's thread busy until the event is set."""
    let_go = threading.Event()
    entered = threading.Event()

    def wait(_: int) -> None:
        entered.set()
        let_go.wait(10)

    house.writer._on_commit = wait
    house.writer.submit((conversation("opener"),))
    assert entered.wait(5)
    house.writer._on_commit = lambda _: None
    return let_go


def test_the_same_id_and_body_gives_the_first_result_and_does_nothing(house: StoreHouse) -> None:
    (first,) = house.send(conversation("c1"))
    house.clock.advance(5)
    (again,) = house.send(conversation("c1"))
    assert again == first
    assert house.rows("SELECT count(*) FROM conversations") == [(1,)]


def test_the_same_id_twice_in_one_call_is_done_once(house: StoreHouse) -> None:
    first, again = house.send(conversation("c1"), conversation("c1"))
    assert first == again
    assert house.rows("SELECT count(*) FROM conversations") == [(1,)]


@pytest.mark.parametrize("together", [True, False])
def test_the_same_id_with_another_body_is_an_error(house: StoreHouse, together: bool) -> None:
    pair = (conversation("c1", command_id="x"), conversation("c2", command_id="x"))
    outcomes = house.send(*pair) if together else house.send(pair[0]) + house.send(pair[1])
    assert outcomes[0].error is None
    assert isinstance(outcomes[1].error, CommandReused)


def test_an_error_is_remembered_too(house: StoreHouse) -> None:
    with pytest.raises(NotFound):
        house.do(c.RenameProject, command_id="x", project_id="later", name="n")
    house.do(c.CreateProject, project_id="later", name="later")
    with pytest.raises(NotFound, match="later"):
        house.do(c.RenameProject, command_id="x", project_id="later", name="n")


def test_ids_are_forgotten_after_seven_days(house: StoreHouse) -> None:
    house.send(conversation("c1"))
    house.clock.advance(names.COMMAND_ID_KEPT_S + 1)
    house.send(conversation("c2"))
    house.writer._purged = -1e9  # only now: what was acknowledged last is spared
    house.send(conversation("c3"))
    house.writer.close()  # keeps house once more before it ends
    assert ("cmd-c1",) not in house.rows("SELECT id FROM commands")
    assert ("cmd-c3",) in house.rows("SELECT id FROM commands")


def test_a_clock_set_years_ahead_makes_no_id_old(house: StoreHouse) -> None:
    """All ids were forgotten then, and whoever sent one again had it done twice."""
    house.send(conversation("c1"))
    house.clock.set(3 * 365 * 86_400.0)
    house.writer._purged = -1e9
    house.send(conversation("c2"))
    house.writer.close()
    assert ("cmd-c1",) in house.rows("SELECT id FROM commands")


def test_an_id_that_came_while_the_clock_was_years_behind_is_not_old_once_it_is_right(house: StoreHouse) -> None:
    """A PC without a battery starts in 1970: what was sent before its clock was set was forgotten at once, and done twice."""
    house.clock.set(-30 * 365 * 86_400.0)
    house.send(conversation("c1"))
    house.clock.set(30 * 365 * 86_400.0)
    house.writer._purged = -1e9
    house.send(conversation("c2"))
    house.writer.close()
    assert ("cmd-c1",) in house.rows("SELECT id FROM commands")


def test_the_age_of_an_id_goes_on_from_the_newest_when_a_writer_starts_with_its_clock_behind(house: StoreHouse) -> None:
    house.send(conversation("c1"))
    house.close()
    behind = ManualClock(house.clock.now() - 30 * 365 * 86_400.0)
    core = WriterCore(house.url, clock=behind)
    core.open()
    behind.advance(names.COMMAND_ID_KEPT_S + 1)
    core.submit((conversation("c2"),)).result(20)
    core._purged = -1e9
    core.submit((conversation("c3"),)).result(20)
    core.close()
    known = StoreHouse(house.home)
    assert [row[0] for row in known.rows("SELECT id FROM commands WHERE id LIKE 'cmd-c_' ORDER BY id")] == ["cmd-c2", "cmd-c3"]
    known.close()


def test_a_command_that_fails_leaves_its_neighbours_alone(house: StoreHouse) -> None:
    head = house.writer.head
    outcomes = house.send(
        conversation("c1"),
        c.CreateProject(command_id="taken", user_id="ana", project_id="p2", name="home"),
        conversation("c1", command_id="same row again"),
        conversation("c2"),
    )
    assert [type(outcome.error) for outcome in outcomes] == [type(None), Conflict, Conflict, type(None)]
    assert house.rows("SELECT id FROM conversations ORDER BY id") == [("c1",), ("c2",)]
    assert [outcome.seq for outcome in outcomes] == [head + 1, head + 1, head + 1, head + 2]
    assert house.rows("SELECT seq, id FROM changes WHERE seq > ?", head) == [(head + 1, "c1"), (head + 2, "c2")]


def test_the_feed_has_no_gaps_and_its_origin_counts_along(house: StoreHouse) -> None:
    for n in range(5):
        house.send(conversation(f"a{n}"), conversation("a0", command_id=f"again{n}"), conversation(f"b{n}"))
    rows = house.rows("SELECT seq, origin_seq, hlc FROM changes ORDER BY seq")
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1)) == [row[1] for row in rows]
    clocks = [row[2] for row in rows]
    assert clocks == sorted(set(clocks))


def test_many_callers_share_a_transaction(house: StoreHouse) -> None:
    commits: list[int] = []
    let_go = held(house)
    waiting = [house.writer.submit((conversation(f"c{n}"),)) for n in range(50)]
    house.writer._on_commit = commits.append
    let_go.set()
    assert all(outcome.error is None for future in waiting for outcome in future.result(10))
    assert len(commits) <= 2  # the one that was held, and the fifty in one


def test_a_full_queue_is_busy_and_takes_nothing(tmp_path: Path) -> None:
    house = StoreHouse(tmp_path, queue=10).people()
    let_go = held(house)
    taken = house.writer.submit(tuple(conversation(f"c{n}") for n in range(9)))
    with pytest.raises(Busy) as caught:
        house.writer.submit((conversation("too"), conversation("many")))
    assert caught.value.retry_after_s > 0
    let_go.set()
    assert len(taken.result(10)) == 9
    assert house.rows("SELECT count(*) FROM conversations") == [(10,)]
    house.close()


def test_too_many_commands_in_one_call_are_refused(house: StoreHouse) -> None:
    with pytest.raises(TooLarge):
        house.writer.submit(tuple(conversation(f"c{n}") for n in range(names.COMMANDS_PER_CALL_MAX + 1)))
    assert house.send() == ()


def test_what_no_disk_can_hold_is_refused_alone(house: StoreHouse) -> None:
    bad, good = house.send(conversation("half a sign \ud83d"), conversation("c1"))
    assert isinstance(bad.error, InvalidRequest)
    assert good.error is None


def test_what_is_no_command_is_refused_before_anything_is_taken(house: StoreHouse) -> None:
    # It was taken, the transaction failed for want of its id, and so did everything in it, at each of its callers' tries.
    stray: Any = {"command_id": "x"}
    with pytest.raises(InvalidRequest, match="expected commands, got a dict"):
        house.send(conversation("c1"), stray)
    assert house.send(conversation("c1"))[0].error is None


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (
            c.CreateConversation(command_id="", user_id="ana", conversation_id="x"),
            "command_id: expected 1 to 500 characters, got 0",
        ),
        (c.CreateConversation(command_id="x" * 501, user_id="ana", conversation_id="x"), "got 501 characters"),
        (c.CreateConversation(command_id=None, user_id="ana", conversation_id="x"), "got a NoneType"),  # type: ignore[arg-type]
        (c.CreateConversation(command_id="x", user_id=7, conversation_id="x"), "user_id: .*got a int"),  # type: ignore[arg-type]
        (c.Command(command_id="x", user_id="ana"), "Command is no command of this store"),
        (
            c.StoreDocuments(
                command_id="x",
                user_id="system",
                job_id="j",
                lease_token="t",
                lease_s=1,
                project_id="p",
                space="s",
                documents=("no document",),  # type: ignore[arg-type]
            ),
            "StoreDocuments: AttributeError",
        ),
    ],
)
def test_a_command_that_is_not_as_it_should_be_is_refused_alone(house: StoreHouse, command: c.Command, why: str) -> None:
    bad, good = house.send(command, conversation("c1"))
    assert isinstance(bad.error, InvalidRequest)
    assert re.search(why, str(bad.error))
    assert good.error is None


def test_ids_are_forgotten_under_a_load_without_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # They were only in a pause of the load: where there is none they were kept for ever.
    house = StoreHouse(tmp_path, batch=1).people()
    waiting: list[int] = []
    real = remembered.purge
    monkeypatch.setattr(remembered, "purge", lambda *given: (waiting.append(len(house.writer._waiting)), real(*given))[1])
    let_go = held(house)
    house.writer._purged -= 3 * PURGE_PERIOD_S
    taken = [house.writer.submit((conversation(f"c{n}"),)) for n in range(5)]
    let_go.set()
    assert all(future.result(10)[0].error is None for future in taken)
    assert waiting[0] > 0
    house.close()


def test_an_unknown_user_is_not_found(house: StoreHouse) -> None:
    (outcome,) = house.send(conversation("c1", user_id="nobody"))
    assert isinstance(outcome.error, NotFound)


def test_a_full_disk_loses_the_transaction_and_nothing_that_was_answered(house: StoreHouse) -> None:
    # SQLite takes released savepoints with it when it runs out of pages: whoever was answered before the commit would be lied to.
    house.send(conversation("before"))
    raw: Any = house.writer._connection().connection.driver_connection
    pages = raw.execute("PRAGMA page_count").fetchone()[0]
    event.listen(house.writer._engine, "connect", lambda dbapi, _: dbapi.execute(f"PRAGMA max_page_count={pages + 4}"))
    raw.execute(f"PRAGMA max_page_count={pages + 4}")
    big = c.CreateConversation(command_id="big", user_id="ana", conversation_id="big", title="")
    many = tuple(
        c.PostMessage(
            command_id=f"m{n}",
            user_id="ana",
            conversation_id="big",
            message_id=f"m{n}",
            reply_id=f"r{n}",
            run_id=f"run{n}",
            text="x" * (100 if n == 0 else 60_000),
        )
        for n in range(4)
    )
    outcomes = house.send(big, *many)
    kept = {outcome.command_id for outcome in outcomes if outcome.error is None}
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    assert failed
    assert all(isinstance(error, StorageFailed) for error in failed)
    assert {"big", "m0"} <= kept
    stored = {row[0] for row in house.rows("SELECT id FROM commands")}
    assert kept <= stored
    assert not stored & {outcome.command_id for outcome in outcomes if outcome.error is not None}
    seqs = [row[0] for row in house.rows("SELECT seq FROM changes ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_failed_commit_is_not_tried_again_but_its_commands_are_on_a_new_connection(house: StoreHouse) -> None:
    failures = iter([True])

    def fail_once(_: Any) -> None:
        if next(failures, False):
            raise OperationalError("COMMIT", None, Exception("disk I/O error"))

    event.listen(house.writer._engine, "commit", fail_once)
    before = house.writer._connection().connection.driver_connection
    outcomes = house.send(conversation("c1"), conversation("c2"))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert house.writer._connection().connection.driver_connection is not before
    assert house.rows("SELECT id FROM conversations ORDER BY id") == [("c1",), ("c2",)]


def test_a_commit_that_was_one_though_it_failed_is_not_done_twice(house: StoreHouse) -> None:
    # The next transaction gave out the sequence numbers of the last once more, and was refused for ever.
    failures = iter([True])

    def commit_and_fail(conn: Any) -> None:
        if next(failures, False):
            conn.connection.driver_connection.execute("COMMIT")
            raise OperationalError("COMMIT", None, Exception("the server closed the connection"))

    event.listen(house.writer._engine, "commit", commit_and_fail)
    outcomes = house.send(conversation("c1"), conversation("c2"))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert house.send(conversation("c3"))[0].error is None
    assert house.rows("SELECT id FROM conversations ORDER BY id") == [("c1",), ("c2",), ("c3",)]
    seqs = [row[0] for row in house.rows("SELECT seq FROM changes ORDER BY seq")]
    assert seqs == list(range(1, house.writer.head + 1))


def test_a_second_writer_is_kept_out_until_the_first_is_gone(house: StoreHouse) -> None:
    second = WriterCore(house.url)
    with pytest.raises(Unavailable, match="writes to it already"):
        second.open()
    epoch = house.writer.epoch
    house.writer.close()
    second.open()
    assert second.epoch == epoch + 1
    second.close()


def test_a_writer_of_an_older_epoch_writes_no_more(house: StoreHouse) -> None:
    raw: Any = house.writer._connection().connection.driver_connection
    raw.execute("UPDATE meta SET value = '99' WHERE name = 'epoch'")
    with pytest.raises(Unavailable, match="took over"):
        house.send(conversation("c1"))
    with pytest.raises(Unavailable, match="took over"):
        house.writer.submit((conversation("c2"),))
    assert house.writer.fenced
    assert house.rows("SELECT count(*) FROM conversations") == [(0,)]


def test_a_closed_writer_finishes_its_queue_and_a_new_one_goes_on_counting(house: StoreHouse) -> None:
    let_go = held(house)
    waiting = house.writer.submit((conversation("c1"),))
    let_go.set()
    house.writer.close()
    head = house.writer.head
    assert waiting.result(0)[0].error is None
    house.writer = WriterCore(house.url)
    house.writer.open()
    assert house.writer.head == head
    assert house.send(conversation("c2"))[0].seq == head + 1
    assert house.send(conversation("c1"))[0].value.id == "c1"


def test_without_deduplication_the_repeat_check_fails(tmp_path: Path) -> None:
    house = StoreHouse(tmp_path, mutants=Mutants(no_dedup=True)).people()
    first, again = house.send(conversation("c1"))[0], house.send(conversation("c1"))[0]
    assert again != first
    house.close()


def test_a_caller_that_gave_up_takes_nobody_elses_answer(house: StoreHouse) -> None:
    # The answers of whoever came after it in the transaction moved up by one.
    let_go = held(house)
    futures = [house.writer.submit((conversation(f"c{n}"),)) for n in range(4)]
    assert futures[1].cancel()
    let_go.set()
    for n in (0, 2, 3):
        (outcome,) = futures[n].result(20)
        assert (outcome.command_id, outcome.value.id) == (f"cmd-c{n}", f"c{n}")
    assert house.writer.queue == 0


def test_a_listener_that_fails_ends_nothing(house: StoreHouse) -> None:
    # A loop that was closed raised in the writer's thread, which ended: nobody was answered any more, and health said "ready".
    def fail(_: int) -> None:
        raise RuntimeError("Event loop is closed")

    house.writer._on_commit = fail
    for n in range(3):
        assert house.send(conversation(f"c{n}"))[0].error is None
    assert house.writer.alive


@pytest.mark.parametrize("where", ["_serve", "_take", "_keep_house"])
def test_whatever_fails_in_the_writers_thread_it_answers_and_goes_on(
    house: StoreHouse, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real, failed = getattr(house.writer, where), threading.Event()

    def fail_once(*given: Any) -> Any:
        if failed.is_set() or (given and not given[0]):
            return real(*given)
        failed.set()
        raise SystemExit("out of order")

    monkeypatch.setattr(house.writer, where, fail_once)
    answered = house.writer.submit((conversation("c1"),))
    assert failed.wait(5)
    error = answered.exception(20)
    assert error is None or (isinstance(error, Unavailable) and "out of order" in str(error))
    assert house.send(conversation("c1"))[0].error is None
    assert house.rows("SELECT count(*) FROM conversations") == [(1,)]
    assert (house.writer.alive, house.writer.queue) == (True, 0)


def test_the_age_of_progress_begins_with_the_work(house: StoreHouse) -> None:
    # A command after an idle night made the writer look hung for as long as the night, and it was replaced.
    house.send(conversation("c1"))
    house.writer._progress -= 30_000
    ages: list[float] = []
    real = house.writer._outcomes
    house.writer._outcomes = lambda *given: (ages.append(house.writer.progress_age_s), real(*given))[1]  # type: ignore[method-assign]
    house.send(conversation("c2"))
    assert len(ages) == 1
    assert ages[0] < 60
