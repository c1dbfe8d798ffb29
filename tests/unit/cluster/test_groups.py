"""Escalation, decided from times alone: a child that can't stay up takes its group down once; then the group is held, and tried again."""

from typing import Any

import pytest

from cluster.groups import Escalation, Group, Groups, cannot_stay_up, escalate, pass_time
from cluster.restarts import Intensity
from cluster.standing import Standing
from cluster.tree import DATABASE, Child
from perenne.messages.health import SupervisionEvent

POLICY = Escalation(hold_s=60.0, hold_max_s=200.0, tries=3, settled_s=30.0, forgotten_s=600.0)
USUAL = Intensity(window_s=60.0, held_after=10)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Group(), Group(phase="restarted", since=1000.0, reason="why")),
        (Group(phase="restarted", since=900.0), Group(phase="held", since=1000.0, until=1060.0, holds=1, reason="why")),
        (Group(phase="tried", since=990.0, holds=1), Group(phase="held", since=1000.0, until=1120.0, holds=2, reason="why")),
        (Group(phase="tried", since=990.0, holds=2), Group(phase="held", since=1000.0, until=1200.0, holds=3, reason="why")),
        (Group(phase="tried", since=990.0, holds=9), Group(phase="held", since=1000.0, until=1200.0, holds=10, reason="why")),
        (Group(phase="held", since=990.0, until=1050.0, holds=1), Group(phase="held", since=990.0, until=1050.0, holds=1)),
    ],
    ids=["first: anew", "again: held", "tried in vain: twice as long", "at most so long", "and no longer", "held is held"],
)
def test_what_follows_when_a_child_cannot_stay_up(before: Group, after: Group) -> None:
    assert escalate(before, 1000.0, "why", POLICY) == after


@pytest.mark.parametrize(
    ("before", "now", "well", "phase"),
    [
        (Group(phase="held", since=0.0, until=60.0), 59.9, False, "held"),
        (Group(phase="held", since=0.0, until=60.0), 60.0, False, "tried"),
        (Group(phase="held", since=9e8, until=9e8 + 60.0), 60.0, False, "tried"),  # the clock was set back by years
        (Group(phase="tried", since=60.0), 89.9, True, "tried"),
        (Group(phase="tried", since=60.0), 90.0, False, "tried"),
        (Group(phase="tried", since=60.0), 90.0, True, "up"),
        (Group(phase="restarted", since=0.0), 599.0, True, "restarted"),
        (Group(phase="restarted", since=0.0), 600.0, True, "up"),
    ],
)
def test_what_the_clock_alone_changes(before: Group, now: float, well: bool, phase: str) -> None:
    assert pass_time(before, now, well, POLICY).phase == phase


@pytest.mark.parametrize(
    ("group", "count", "gone"),
    [
        (Group(), 10, False),
        (Group(), 11, True),
        (Group(phase="tried", since=99.0), 3, False),
        (Group(phase="tried", since=99.0), 4, True),
        (Group(phase="restarted", since=105.5), 11, False),  # those before the group was started anew do not count
    ],
)
def test_who_cannot_stay_up(group: Group, count: int, gone: bool) -> None:
    starts = tuple(100.0 + n for n in range(count))
    assert (cannot_stay_up(group, starts, starts[-1], USUAL, POLICY) is not None) is gone


class House:
    """The shells of a group, a clock, and what the owner was told."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.told: list[tuple[str, str]] = []
        self.until = 0.0
        self.groups = Groups([DATABASE], POLICY, self._note)
        self.standing = Standing(Child(name="StoreWriter", code="a:b", group=DATABASE, intensity=USUAL))
        self._pid = 100

    def _note(self, kind: Any, subject: str, detail: str = "", *, until: float = 0.0) -> None:
        self.told.append((kind, subject))
        self.until = until or self.until

    def ask(self) -> str:
        go = self.standing.go(self._pid, self.now)
        return self.groups.ask(DATABASE, "StoreWriter", self.standing.starts, USUAL, go, self.now).decision

    def die_until(self, decision: str, most: int = 60) -> None:
        """Die at each go, until this is the answer."""
        for _ in range(most):
            self._pid += 1
            self.now += 0.5
            for _ in range(1000):
                answer = self.ask()
                if self.groups.orders:
                    self.groups.orders.popleft()
                    self.standing.forgive()
                    self.groups.restarted(DATABASE)
                if answer == decision:
                    return
                if answer == "go":
                    break
                self.now += 0.1
        raise AssertionError(f"never {decision}")


def test_a_crash_loop_is_told_of_twice_and_tried_again_by_itself() -> None:
    house = House()
    house.die_until("held")
    assert house.told == [("group_restarted", DATABASE), ("group_held", DATABASE)]
    for _ in range(500):  # a held shell asks and asks: nobody is told again
        assert house.ask() == "held"
    assert len(house.told) == 2
    assert "until `perenne restart database`" in house.groups.held()[DATABASE]
    assert house.groups.held()[DATABASE].startswith("StoreWriter started 11 times in 60 s")
    house.now = house.until
    house.groups.look(house.now, lambda _: False)
    assert house.ask() == "go"
    house.die_until("held", most=POLICY.tries + 2)
    assert [kind for kind, _ in house.told] == ["group_restarted", "group_held", "group_tried", "group_held"]
    house.now = house.until
    house.groups.look(house.now, lambda _: True)
    assert house.ask() == "go"
    house.now += POLICY.settled_s
    house.groups.look(house.now, lambda _: True)
    assert house.told[-1] == ("group_recovered", DATABASE)
    assert house.groups.held() == {}


def test_a_group_that_is_tried_starts_at_once_though_its_starts_are_of_this_minute() -> None:
    """With a hold shorter than the window its child waited until the window had room, half a minute after the hold was over."""
    house = House()
    house.die_until("held")
    house.groups.release(DATABASE, house.now)
    assert house.standing.go(house._pid, house.now).decision == "held"
    assert house.ask() == "go"


def test_a_held_group_is_let_go_by_hand() -> None:
    house = House()
    house.die_until("held")
    house.standing.forgive()
    house.groups.release(DATABASE, house.now)
    assert house.ask() == "go"


def test_a_supervisor_that_was_restarted_still_holds_and_a_new_run_does_not() -> None:
    house = House()
    told = [
        SupervisionEvent(seq=1, at=10.0, kind="started", subject="session-1"),
        SupervisionEvent(seq=2, at=900.0, kind="group_restarted", subject=DATABASE),
        SupervisionEvent(seq=3, at=990.0, kind="group_held", subject=DATABASE, detail="why", until=1050.0),
    ]
    house.groups.recall(told)
    assert house.ask() == "held"
    house.groups.recall([*told, SupervisionEvent(seq=4, at=995.0, kind="started", subject="session-2")])
    assert house.ask() == "go"
