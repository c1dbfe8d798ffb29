"""What the Supervisor did, heard once: its events after a place that is kept on disk, as steps of signals."""

import json
import logging
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from perenne import names
from perenne.directory import Directory
from perenne.messages.alerts import Signal
from perenne.messages.health import SupervisionEvent

log = logging.getLogger(__name__)

OF_EVENTS = ("child.died", "child.hang_ended", "group.held")
_ASK_S = 3.0
OLD_S = 3_600.0  # of what happened before anybody listened, only this much is news


@dataclass(frozen=True, slots=True)
class Place:
    """The last event that was heard. `seq` None: none ever was."""

    seq: int | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Signals that may be heard at once: what begins and what ends it are never in one step. `covers`: see `Centre.hear`."""

    signals: tuple[Signal, ...]
    place: Place
    covers: tuple[str, ...] = ()


def asked_from(place: Place) -> int:
    """After which number to ask: the event that was heard last comes along, to see that the numbers are still those of then."""
    return max(0, (place.seq or 0) - 1)


def is_other(events: tuple[SupervisionEvent, ...], place: Place) -> bool:
    """Whether, asked from there, these are not the events of then: the record was begun anew, or its last lines were lost in a power cut.
    One that was cut at its beginning, because it is full, is the same."""
    if place.seq is None:
        return False
    return not events or (events[0].seq == place.seq and events[0].at != place.at)


def fresh(events: tuple[SupervisionEvent, ...], place: Place, now: float, *, other: bool) -> tuple[SupervisionEvent, ...]:
    """Those that were not heard yet. `other`: all that there are were asked for, because the numbers begin anew."""
    if place.seq is None or (other and place.at > now):  # the clock was ahead then: times tell nothing
        return tuple(event for event in events if abs(now - event.at) < OLD_S)
    if other:
        return tuple(event for event in events if event.at > place.at)
    return tuple(event for event in events if event.seq > place.seq)


def steps(events: Iterable[SupervisionEvent]) -> list[Step]:
    """In their order; what ends something has a step of its own, so that what was over before it was heard is told all the same."""
    found: list[Step] = []
    waiting: list[Signal] = []
    place = Place()
    for event in events:
        here = Place(event.seq, event.at)
        ends = event.kind in ("started", "group_recovered")
        if ends and waiting:
            found.append(Step(tuple(waiting), place))
            waiting = []
        place = here
        if event.kind == "started":  # no group is held by a Supervisor of a new run
            found.append(Step((), place, covers=("group.held",)))
        elif ends:
            found.append(Step((Signal(name="group.held", subject=event.subject, value=0.0),), place))
        else:
            waiting += _began(event)
    if waiting or (place.seq is not None and (not found or found[-1].place != place)):
        found.append(Step(tuple(waiting), place))
    return found


def _began(event: SupervisionEvent) -> list[Signal]:
    name = {"child_died": "child.died", "child_hung": "child.hang_ended", "group_held": "group.held"}.get(event.kind)
    if name is None:
        return []
    detail = event.detail.rstrip(".") + "."
    if event.record:
        detail += f" Its record is {event.record}."
    return [Signal(name=name, subject=event.subject, value=1.0, detail=detail)]


class Memory:
    """What was heard, in a small file: the place among the Supervisor's events, and whose database this is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place, self.origin = Place(), ""
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            self.place, self.origin = Place(**held["place"]), str(held["origin"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:  # then what is older than an hour is no news
            log.warning("%s can't be read and is begun anew: %s", path, error)

    def keep(self, place: Place, origin: str) -> None:
        """On disk when this returns. A disk that does not take it is tried again with what comes next; till then a restart hears it again."""
        if (place, origin) == (self.place, self.origin):
            return
        aside = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({"place": asdict(place), "origin": origin}, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
        except OSError as error:
            log.warning("what was heard could not be kept in %s: %s", self._path, error)
            return
        self.place, self.origin = place, origin


class Happenings:
    """`look` asks for what happened, `next_step` gives it out, `settle` once what follows from it is written: only then its place is kept,
    so that a death in between hears of it again. What fires already is not told twice by that. `hold_s`: how long a signal has to hold before
    it is written at all."""

    def __init__(self, memory: Memory, hold_s: float) -> None:
        self._memory, self._hold_s = memory, hold_s
        self._asked = memory.place
        self._steps: deque[Step] = deque()
        self._heard: deque[tuple[float, Place, str]] = deque()
        self._origin = memory.origin

    async def look(self, directory: Directory, now: float) -> None:
        """Ask the Supervisor; its trouble is raised."""
        if self._steps:
            return
        place = self._asked
        events = await _events(directory, asked_from(place))
        if other := is_other(events, place):
            events = await _events(directory, 0)
        self._steps.extend(steps(fresh(events, place, now, other=other)))
        if events:
            self._asked = Place(events[-1].seq, events[-1].at)

    def next_step(self, monotonic: float) -> Step | None:
        """What is to be heard before the next look at the rules."""
        if not self._steps:
            return None
        step = self._steps.popleft()
        self._heard.append((monotonic, step.place, self._origin))
        return step

    def is_restored(self, origin: str, monotonic: float) -> bool:
        """Whether the database is another than the one that was here before."""
        before, self._origin = self._origin, origin
        if before != origin:
            self._heard.append((monotonic, self._heard[-1][1] if self._heard else self._memory.place, origin))
        return before not in ("", origin)

    def settle(self, monotonic: float) -> None:
        """All that was heard so far is written; keep its place. Blocks for a write to the disk where there is something new."""
        kept: tuple[Place, str] | None = None
        while self._heard and monotonic - self._heard[0][0] >= self._hold_s:
            _, place, origin = self._heard.popleft()
            kept = (place, origin)
        if kept is not None:
            self._memory.keep(*kept)

    @property
    def is_settling(self) -> bool:
        """Whether `settle` has something to do, now or soon."""
        return bool(self._heard)


async def _events(directory: Directory, after: int) -> tuple[SupervisionEvent, ...]:
    events: tuple[SupervisionEvent, ...] = await directory.call(names.SUPERVISOR, "events", timeout_s=_ASK_S, after=after)
    return tuple(events)
