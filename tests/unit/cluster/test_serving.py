"""Serve's applications: their starts are counted as those of actors are, and one that can't stay up is held and tried again."""

from pathlib import Path
from typing import Any

import pytest

from cluster import applications, serving, spawning
from cluster.processes import application_of
from cluster.serving import Replicas
from cluster.tending import Tending
from perenne import names
from perenne.messages.health import ChildStatus
from perenne.settings import Settings, load_settings
from perenne.testing import FakeDirectory


@pytest.mark.parametrize(
    ("wanted", "sights", "starts"),
    [
        (1, ["a", "a", "b", "b", "c"], [0, 0, 1, 0, 1]),
        (2, ["a", "ab", "ac", "cd"], [0, 0, 1, 1]),  # the second of two is part of the first start
        (1, ["", "a", "", "b"], [0, 0, 0, 1]),
        (1, ["a", "bcd"], [0, 3]),
    ],
)
def test_each_replica_that_was_not_there_before_is_a_start(wanted: int, sights: list[str], starts: list[int]) -> None:
    replicas = Replicas(wanted)
    assert [replicas.meet(frozenset(sight)) for sight in sights] == starts


class Serve:
    """Serve without Ray: what was handed over runs with one replica, until the replica is made to die. `broken`: it fails as it begins."""

    def __init__(self) -> None:
        self.states: dict[str, tuple[str, str]] = {}
        self.there: dict[str, frozenset[str]] = {}
        self.broken = False
        self.done: list[tuple[str, str]] = []
        self._born = 0

    def deploy(self, children: list[Any], settings: Settings) -> list[Any]:
        for child in children:
            self.done.append(("deploy", child.name))
            self.die(child.name)
            self.states[child.name] = ("DEPLOY_FAILED", "it has a fault") if self.broken else ("RUNNING", "")
        return []

    def die(self, name: str) -> None:
        self._born += 1
        self.there[name] = frozenset({f"{name}-{self._born}"})

    def end_replicas(self, name: str) -> int:
        self.done.append(("end", name))
        self.die(name)
        return 1

    def take_out(self, name: str) -> None:
        self.done.append(("take out", name))
        del self.states[name], self.there[name]


class House:
    """A Supervisor's work over that Serve, by a clock that moves when told to."""

    def __init__(self, settings: Settings, serve: Serve) -> None:
        self.serve, self.now = serve, 1_000_000.0
        self.tending = Tending(settings, FakeDirectory())

    async def look(self, after_s: float = 0.0) -> None:
        self.now += after_s
        keeper = self.tending
        keeper._restart_groups()
        for _ in range(2):  # what one look orders is done by the next
            keeper._serving.seen.at = -1e9
            await keeper._serving.look()
            keeper._groups.look(self.now, keeper._is_well)
            for task in tuple(keeper._background):
                await task

    @property
    def edge(self) -> ChildStatus:
        return next(child for child in self.tending.status().children if child.name == names.EDGE)

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(event.kind, event.subject) for event in self.tending.events.after(0)]

    async def die_until(self, held: bool, most: int = 40) -> int:
        for n in range(most):
            if (self.edge.state == "held") is held:
                return n
            if names.EDGE in self.serve.there:
                self.serve.die(names.EDGE)
            await self.look(5.0)
        raise AssertionError(f"the edge is {self.edge}")


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(spawning, "session", lambda: "session-1")
    for folder in ("ray", "run"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(Settings, "ray_dir", property(lambda _: str(tmp_path / "ray")))
    serve = Serve()
    for name in ("deploy", "end_replicas", "take_out"):
        monkeypatch.setattr(applications, name, getattr(serve, name))
    monkeypatch.setattr(applications, "look", lambda: dict(serve.states))
    monkeypatch.setattr(applications, "replicas", lambda: dict(serve.there))

    async def answers(*_: object) -> bool:
        return True

    monkeypatch.setattr(applications, "answers", answers)
    monkeypatch.setattr(serving, "DEPLOY_AGAIN_S", 0.0)
    monkeypatch.setattr(serving, "serve_replicas", lambda ray_dir: {4_321: "edge", 4_322: "language"})
    made = House(load_settings({"PERENNE_HOME": str(tmp_path)}), serve)
    monkeypatch.setattr("time.time", lambda: made.now)
    made.tending._serving.deploy()
    await made.look()
    return made


async def test_replicas_that_serve_starts_anew_are_restarts_of_their_application(house: House) -> None:
    assert (house.edge.state, house.edge.restarts) == ("ready", 0)
    for n in range(1, 4):
        house.serve.die(names.EDGE)
        await house.look(60.0)
        assert house.edge.restarts == n
    assert house.events == []


async def test_an_application_that_cannot_stay_up_is_started_anew_once_then_held_and_tried_again(house: House) -> None:
    await house.die_until(held=True)
    assert house.events == [("group_restarted", "edge"), ("group_held", "edge")]
    assert ("end", "edge") in house.serve.done
    assert house.serve.done[-1] == ("take out", "edge"), "Serve would start it again and again"
    handed = house.serve.done.count(("deploy", "edge"))
    reasons = house.tending.status().reasons
    assert len([reason for reason in reasons if "held" in reason]) == 1
    assert "`perenne restart edge`" in reasons[0]
    for _ in range(10):
        await house.look(5.0)
    assert house.serve.done.count(("deploy", "edge")) == handed, "nothing is started while it is held"
    assert house.edge.state == "held"
    assert len(house.events) == 2, "and nobody is told again"
    await house.look(20.0)
    await house.look()
    assert house.serve.done[-1] == ("deploy", "edge")
    assert house.edge.state == "ready"
    await house.look(40.0)
    assert [kind for kind, _ in house.events[2:]] == ["group_tried", "group_recovered"]


async def test_one_that_is_tried_in_vain_is_held_for_longer(house: House) -> None:
    await house.die_until(held=True)
    await house.look(61.0)
    await house.look()
    assert await house.die_until(held=True) <= 4
    untils = [event.until - event.at for event in house.tending.events.after(0) if event.kind == "group_held"]
    assert len(untils) == 2
    assert untils[1] == pytest.approx(2 * untils[0])


async def test_one_that_fails_to_deploy_again_and_again_is_held_too(house: House) -> None:
    house.serve.broken = True
    house.serve.states[names.EDGE] = ("DEPLOY_FAILED", "it has a fault")
    for _ in range(60):
        if house.edge.state == "held":
            break
        await house.look(15.0)
    assert house.edge.state == "held"
    assert house.events == [("group_restarted", "edge"), ("group_held", "edge")]


async def test_a_held_application_is_let_go_by_hand(house: House) -> None:
    await house.die_until(held=True)
    await house.tending.restart("edge")
    await house.look()
    await house.look()
    assert house.edge.state == "ready"


async def test_of_several_replicas_those_that_are_up_stay_up(house: House) -> None:
    house.serve.die = lambda name: house.serve.there.update(  # type: ignore[method-assign]
        {name: frozenset({f"{name}-0", f"{name}-{house.now}"})}
    )
    for _ in range(60):
        house.serve.die(names.EDGE)
        await house.look(5.0)
    assert ("group_held", "edge") in house.events
    assert ("take out", "edge") not in house.serve.done
    assert house.edge.state == "degraded"


async def test_the_crash_of_a_replica_is_told_by_the_name_of_its_application(house: House) -> None:
    assert (house.tending._keeping._names[4_321], house.tending._keeping._names[4_322]) == ("edge", "language")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("ray::ServeReplica:edge:Edge", "edge"),
        ("ray::SERVE_REPLICA::language#Language#x1y2.initialize", "language"),
        ("ray::ServeController", None),
        ("ray::RunHost", None),
        ("python", None),
    ],
)
def test_whose_replica_a_process_is_stands_in_its_title(title: str, name: str | None) -> None:
    assert application_of(title) == name
