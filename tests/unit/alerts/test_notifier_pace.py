"""When a message is tried again, and when it is given up."""

import itertools
import random

import pytest

from actors.alerts.notifier_pace import FIRST_S, KEPT_S, LONGEST_S, TRIES_MIN, UNFIT_TRIES, Again, GiveUp, after_failure


def pauses(seed: int, tries: int) -> list[float]:
    drawn = random.Random(seed)
    found = [after_failure(each, 0.0, drawn) for each in range(1, tries + 1)]
    assert all(isinstance(each, Again) for each in found)
    return [each.in_s for each in found if isinstance(each, Again)]


def test_pauses_grow_from_five_seconds_to_a_quarter_of_an_hour() -> None:
    found = pauses(1, 40)
    assert 0.75 * FIRST_S <= found[0] <= FIRST_S == 5.0
    assert all(0.75 * LONGEST_S <= each <= LONGEST_S == 900.0 for each in found[9:])
    assert all(later > 1.4 * earlier for earlier, later in itertools.pairwise(found[:8]))


def test_two_channels_that_failed_together_do_not_come_back_together() -> None:
    assert pauses(1, 10) != pauses(2, 10)
    assert pauses(1, 10) == pauses(1, 10)


@pytest.mark.parametrize("seed", range(5))
def test_a_message_is_tried_for_a_day_at_least(seed: int) -> None:
    drawn, waited_s, tries = random.Random(seed), 0.0, 0
    while True:
        tries += 1
        then = after_failure(tries, waited_s, drawn)
        if isinstance(then, GiveUp):
            break
        waited_s += then.in_s
    assert 86_400.0 <= waited_s <= KEPT_S + LONGEST_S
    assert tries > 90


def test_one_that_is_old_when_it_is_sent_again_by_hand_has_some_tries_too() -> None:
    drawn = random.Random(1)
    assert isinstance(after_failure(TRIES_MIN - 1, 10 * KEPT_S, drawn), Again)
    assert isinstance(after_failure(TRIES_MIN, 10 * KEPT_S, drawn), GiveUp)


def test_one_that_the_sink_finds_wrong_holds_the_others_up_for_minutes_only() -> None:
    drawn = random.Random(1)
    assert isinstance(after_failure(UNFIT_TRIES - 1, 0.0, drawn, unfit=True), Again)
    assert isinstance(after_failure(UNFIT_TRIES, 0.0, drawn, unfit=True), GiveUp)
    assert sum(pauses(1, UNFIT_TRIES - 1)) < 120.0


def test_a_sink_may_ask_for_a_longer_pause_but_not_for_days() -> None:
    drawn = random.Random(1)
    assert after_failure(1, 0.0, drawn, asked_s=120.0) == Again(120.0)
    assert after_failure(1, 0.0, drawn, asked_s=1e9) == Again(LONGEST_S)
