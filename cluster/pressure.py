"""What is done about memory and disk before they are full: decided from what was seen, pure but for what was done before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from perenne import names
from perenne.messages.health import EventKind
from perenne.room import short_of

IDLE_S = 20.0  # a language model that memory is short for leaves once nobody asked for this long
REPLACED_AGAIN_S = 3600.0  # a child over its budget is replaced at most this often: one that needs so much keeps it
_EASE = 1.1  # a shortage is over once there is this much more than what it began at


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one child has. `idle`: nothing waits and nothing is in hand. `budget`: 0 for none."""

    name: str
    pss: int
    budget: int
    idle: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    available: int
    total: int
    uses: Sequence[Use] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """`leave`: a model; `relieve`: a child gives back what it does not need; `replace`: a child ends and starts anew. `note`: only said."""

    what: Literal["leave", "relieve", "replace", "note"]
    name: str
    kind: EventKind | None = None
    detail: str = ""


@dataclass(slots=True)
class MemoryPressure:
    """One look after another. While the machine is short each goes a step further; a child over its budget is told of, relieved, and then
    replaced in an idle moment."""

    low_share: float
    _low_looks: int = 0
    _over: dict[str, int] = field(default_factory=dict[str, int])  # looks in a row above the budget
    _replaced_at: dict[str, float] = field(default_factory=dict[str, float])
    notices: tuple[str, ...] = ()

    def decide(self, seen: Seen, now: float) -> list[Action]:
        over = [use for use in seen.uses if use.budget and use.pss > use.budget]
        actions = self._machine(seen, over, now)
        self._over = {use.name: self._over.get(use.name, 0) + 1 for use in over}
        for use in over:
            actions.extend(self._child(use, now))
        self.notices = tuple(
            [f"memory is short: {seen.available >> 20} MB of {seen.total >> 20} MB are free"] if self._low_looks else []
        ) + tuple(_too_large(use) for use in over)
        return actions

    def _machine(self, seen: Seen, over: Sequence[Use], now: float) -> list[Action]:
        limit = seen.total * self.low_share
        if seen.available >= limit * (_EASE if self._low_looks else 1.0):
            was, self._low_looks = self._low_looks, 0
            said = f"memory suffices again: {seen.available >> 20} MB are free"
            return [Action(what="note", name="memory", kind="memory_recovered", detail=said)] if was else []
        self._low_looks += 1
        if self._low_looks == 1:
            said = f"memory is short: {seen.available >> 20} MB of {seen.total >> 20} MB are free; what is not needed leaves"
            return [
                Action(what="note", name="memory", kind="memory_low", detail=said),
                Action(what="leave", name=names.LANGUAGE),
            ]
        if self._low_looks == 2:
            return [Action(what="leave", name=names.RERANKING), *(Action(what="relieve", name=use.name) for use in seen.uses)]
        largest = max((use for use in over if use.idle), key=lambda use: use.pss, default=None)
        return [] if largest is None else self._replace(largest, now)

    def _child(self, use: Use, now: float) -> list[Action]:
        looks = self._over[use.name]
        if looks == 1:
            return [
                Action(what="note", name=use.name, kind="child_over_budget", detail=_too_large(use)),
                Action(what="relieve", name=use.name),
            ]
        return self._replace(use, now) if use.idle and looks > 2 else []

    def _replace(self, use: Use, now: float) -> list[Action]:
        if now - self._replaced_at.get(use.name, float("-inf")) < REPLACED_AGAIN_S:
            return []
        self._replaced_at[use.name] = now
        said = f"{_too_large(use)}; it had nothing to do and was started anew"
        return [Action(what="replace", name=use.name, kind="child_replaced", detail=said)]


def _too_large(use: Use) -> str:
    return f"{use.name} has {use.pss >> 20} MB of memory, its budget is {use.budget >> 20} MB"


@dataclass(slots=True)
class DiskPressure:
    """`state` by what is free against the reserve: nothing is said twice."""

    state: Literal["fine", "low", "full"] = "fine"
    notices: tuple[str, ...] = ()

    def decide(self, free: int, reserve: int) -> tuple[EventKind, str] | None:
        """What is to be told, if the state changed."""
        ease = {"fine": (1.0, 1.0), "low": (_EASE, 1.0), "full": (_EASE, _EASE)}[self.state]
        before = self.state
        self.state = "full" if free < reserve * ease[1] else "low" if free < 2 * reserve * ease[0] else "fine"
        low = f"the disk fills: {free >> 20} MB are free; below {reserve >> 20} MB nothing new is written"
        self.notices = () if self.state == "fine" else (short_of(free, reserve) if free < reserve else low,)
        if self.state == before:
            return None
        if self.state == "full":
            return "disk_full", short_of(free, reserve)
        if before == "full" or self.state == "fine":
            return "disk_recovered", f"the disk has room again: {free >> 20} MB are free, and what comes is written"
        return "disk_low", low
