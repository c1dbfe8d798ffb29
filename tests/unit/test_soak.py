"""The soak's plan is the seed's alone, and its account notices each way in which a promise can be broken."""

from itertools import islice
from typing import Any

import pytest

from tests.soak import papers, plan
from tests.soak.account import compare
from tests.soak.alarms import judge
from tests.soak.faults import Blow
from tests.soak.gauges import slope_per_hour
from tests.soak.journal import Journal, Thing
from tests.soak.plan import Fault
from tests.soak.streams import Seen, faults_of


def thing(name: str = "a", id: str = "cnv_1", **fields: Any) -> Thing:
    return Thing("conversation", name, 0, id=id, made="acknowledged", **fields)


def test_the_same_seed_gives_the_same_work_and_another_seed_other_work() -> None:
    assert plan.faults(7, 600) == plan.faults(7, 600)
    assert plan.faults(7, 600) != plan.faults(8, 600)
    assert plan.faults(7, 3600)[: len(plan.faults(7, 600))] == plan.faults(7, 600), "a longer run begins with the shorter one's"
    assert plan.fingerprint(7, 6) == plan.fingerprint(7, 6) != plan.fingerprint(8, 6)
    first = list(islice(plan.operations(7, 0), 50))
    assert first == list(islice(plan.operations(7, 0), 50)) != list(islice(plan.operations(7, 1), 50))


def test_every_fault_comes_once_a_round() -> None:
    drawn = plan.faults(3, 12 * len(plan.FAULTS) * 3)
    first = {(fault.kind, fault.target) for fault in drawn[: len(plan.FAULTS)]}
    assert first == set(plan.FAULTS)


def test_every_operation_has_somebody_who_does_it() -> None:
    from tests.soak.client import Client

    assert [kind for kind in plan.WEIGHTS if not hasattr(Client, f"_do_{kind}")] == []


def test_a_fault_that_does_not_exist_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="expected faults such as"):
        plan.faults(1, 60, only=("kill Nobody",))


@pytest.mark.parametrize("kind", papers.FORMATS)
def test_a_number_gives_one_paper(kind: str) -> None:
    assert papers.paper(5, format=kind) == papers.paper(5, format=kind)
    assert papers.paper(5, format=kind).content != papers.paper(6, format=kind).content


def test_what_is_there_once_is_well() -> None:
    account = compare("conversation", [(thing(), True, False)], [("a", "cnv_1")])
    assert account.clean
    assert account.looked_for == 1


def test_an_acknowledged_write_that_is_not_there_is_lost() -> None:
    assert compare("conversation", [(thing(), True, False)], []).lost


def test_one_that_is_there_under_another_id_is_lost() -> None:
    assert compare("conversation", [(thing(), True, False)], [("a", "cnv_2")]).lost


def test_one_that_is_there_twice_is_doubled_though_nobody_was_told_of_it() -> None:
    unheard = Thing("conversation", "a", 0)
    assert compare("conversation", [(unheard, False, False)], [("a", "cnv_1"), ("a", "cnv_2")]).doubled
    assert compare("conversation", [(unheard, False, False)], [("a", "cnv_1")]).clean
    assert compare("conversation", [(unheard, False, False)], []).clean


def test_one_whose_removal_was_acknowledged_and_that_is_there_has_returned() -> None:
    gone, leaving = thing(removed="acknowledged"), thing(removed="begun")
    assert compare("conversation", [(gone, True, True)], [("a", "cnv_1")]).returned
    assert compare("conversation", [(leaving, True, False)], [("a", "cnv_1")]).clean
    assert compare("conversation", [(leaving, True, False)], []).clean


def seen(*seqs: int, text: str = "one two", said: str = "one two", ended: bool = True) -> Seen:
    end = {"kind": "done", "seq": seqs[-1], "data": {"text": said}} if ended else None
    return Seen("run_1", "sse", list(seqs), text, end)


def test_a_whole_stream_is_well() -> None:
    assert faults_of(seen(1, 2, 4), seen(1, 2, 4), "one two") == []


@pytest.mark.parametrize(
    ("shown", "kept", "text", "words"),
    [
        (seen(1, 4), seen(1, 2, 4), "one two", "were not shown"),
        (seen(1, 2, 2, 4), seen(1, 2, 4), "one two", "twice or out of order"),
        (seen(1, 2, 3, 4), seen(1, 2, 4), "one two", "are not kept"),
        (seen(1, 2, ended=False), seen(1, 2, 4), "one two", "broke off without a word"),
        (seen(1, 2, 4, text="one"), seen(1, 2, 4), "one two", "but it ended with"),
        (seen(1, 2, 4), seen(1, 2, 4), "one", "is kept"),
    ],
)
def test_a_stream_that_breaks_its_promise_is_noticed(shown: Seen, kept: Seen, text: str, words: str) -> None:
    assert words in " ".join(faults_of(shown, kept, text))


def test_the_journal_is_on_disk_and_what_is_in_a_project_goes_with_it(tmp_path: Any) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    project, document = Thing("project", "p", 0), Thing("document", "d", 0, inside="p")
    for each in (project, document):
        journal.begin(each, "cmd")
        journal.acknowledge(each, f"id-{each.name}")
    journal.removing(project)
    assert document.removed == "begun"
    journal.remove(project)
    assert document.removed == "acknowledged"
    assert journal.of(0, "document") == []
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 6
    journal.close()


def blow() -> Blow:
    return Blow(Fault(1, 0.0, "fill", "disk", 5.0), struck=True, began_at=100.0, ended_at=110.0)


def alert(**fields: Any) -> dict[str, Any]:
    given = {
        "id": "alt_1",
        "event": "disk.full",
        "title": "full",
        "first_seen": 103.0,
        "resolved_at": 118.0,
        "state": "resolved",
    }
    return given | fields


BOTH = [("key_1", "alt_1", "firing"), ("key_2", "alt_1", "resolved")]


def test_a_fault_that_was_told_and_taken_back_is_well() -> None:
    told, wrong, waiting = judge([alert()], BOTH, [blow()], 300.0)
    assert (wrong, waiting) == ([], [])
    assert (told.raised, told.resolved, told.delivered, told.doubled) == (1, 1, 2, 0)


@pytest.mark.parametrize(
    ("alerts", "arrived", "words"),
    [
        ([], [], "0 alerts where one was expected"),
        ([alert(), alert(id="alt_2")], BOTH, "2 alerts where one was expected"),
        ([alert()], [], "it did not arrive"),
        ([alert()], BOTH[:1], "nobody was told"),
        ([alert()], [*BOTH, ("key_3", "alt_1", "firing")], "2 times"),
    ],
)
def test_an_alert_that_breaks_its_promise_is_noticed(alerts: Any, arrived: Any, words: str) -> None:
    _, wrong, waiting = judge(alerts, arrived, [blow()], 300.0)
    assert words in " ".join(wrong + waiting)


def test_a_leak_has_a_slope_and_rest_has_none() -> None:
    assert slope_per_hour([(float(n), n / 3600) for n in range(10)]) == pytest.approx(1.0)
    assert slope_per_hour([(float(n), 5.0) for n in range(10)]) == 0
    assert slope_per_hour([(0.0, 1.0)]) is None
