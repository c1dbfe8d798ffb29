"""The restart policy, decided from times alone."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.restarts import Intensity, Patience, Sight, decide, hung

USUAL = Intensity()


def test_a_few_deaths_cost_no_waiting():
    starts = tuple(float(n) for n in range(USUAL.free))
    assert decide(starts, starts[-1], USUAL, seed=1).decision == "go"


def test_the_next_start_waits_and_may_then_go():
    starts = tuple(float(n) for n in range(USUAL.free + 1))
    go = decide(starts, starts[-1], USUAL, seed=1)
    assert go.decision == "wait"
    assert 0.75 * USUAL.backoff_s <= go.wait_s <= 1.25 * USUAL.backoff_s
    assert decide(starts, starts[-1] + go.wait_s, USUAL, seed=1).decision == "go"


def test_waiting_grows_to_its_bound_and_no_further():
    waits = []
    for count in range(USUAL.free + 1, USUAL.held_after + 1):
        starts = tuple(10.0 + n * 0.01 for n in range(count))
        waits.append(decide(starts, starts[-1], USUAL, seed=7).wait_s)
    assert [round(wait, 6) for wait in waits] == sorted(round(wait, 6) for wait in waits)
    assert waits[-1] <= USUAL.backoff_max_s * 1.25


def test_a_child_that_dies_all_the_time_is_held_until_the_window_has_room():
    starts = tuple(100.0 + n for n in range(USUAL.held_after + 1))
    now = starts[-1]
    assert decide(starts, now, USUAL, seed=1).decision == "held"
    later = starts[0] + USUAL.window_s + 0.01
    assert decide(starts, later, USUAL, seed=1).decision == "go"


def test_deaths_long_ago_are_forgotten():
    starts = (*(float(n) for n in range(30)), 1_000.0)
    assert decide(starts, 1_000.0, USUAL, seed=1).decision == "go"


@given(st.lists(st.floats(0, 300), min_size=1, max_size=40), st.integers(0, 2**31))
def test_whoever_keeps_asking_gets_to_go(times: list[float], seed: int):
    starts = tuple(sorted(times))
    now = starts[-1]
    for _ in range(2_000):
        go = decide(starts, now, USUAL, seed)
        if go.decision == "go":
            break
        assert go.wait_s > 0
        now += max(0.1, go.wait_s)
    assert go.decision == "go"
    assert now - starts[-1] <= USUAL.window_s + 1.25 * USUAL.backoff_max_s


def sight(**changes):
    return Sight(**{"state": "ready", "born_at": 0.0, "answered": True, **changes})


def test_a_child_that_stops_answering_is_hung_but_one_that_is_still_loading_is_not():
    patience = Patience()
    assert hung(sight(unanswered=patience.silent), 10.0, patience)
    assert not hung(sight(unanswered=patience.silent - 1), 10.0, patience)
    assert not hung(sight(unanswered=50, answered=False), patience.birth_s - 1, patience)
    assert hung(sight(unanswered=50, answered=False), patience.birth_s + 1, patience)


def test_waiting_work_without_progress_is_hung_and_an_idle_child_is_not():
    patience = Patience()
    assert hung(sight(queue=3, progress_age_s=patience.progress_s + 1), 1e6, patience)
    assert not hung(sight(queue=0, progress_age_s=1e9), 1e6, patience)
    assert not hung(sight(queue=3, progress_age_s=1.0), 1e6, patience)
    assert not hung(sight(state="recovering", queue=3, progress_age_s=1e9), 1e6, patience)
