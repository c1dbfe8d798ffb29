"""The AlertCenter's work over a real database: outages, a file that keeps what is critical, deaths at any moment."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.alerts.watch import Watch
from actors.store import alerts, changed, job_figures, outbox, reading, telling
from perenne import names
from perenne.clock import ManualClock
from perenne.errors import Unavailable
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.messages.alerts import Alert, Signal
from perenne.messages.health import ChildStatus, EventKind, SupervisionEvent, TreeStatus
from perenne.messages.models import ModelState
from perenne.settings import Settings, load_settings
from perenne.testing import FakeDirectory
from tests.unit.alerts.test_alert_rules import OWN, RULES
from tests.unit.store.store_house import StoreHouse

_NEVER = 1e18


class Writer:
    def __init__(self, house: StoreHouse) -> None:
        self.house = house

    async def submit(self, *, commands: tuple[c.Command, ...]) -> tuple[c.Outcome, ...]:
        return await asyncio.wrap_future(self.house.writer.submit(commands))

    async def head(self) -> int:
        return self.house.writer.head


class Reader:
    def __init__(self, house: StoreHouse) -> None:
        self.house = house

    async def open_alerts(self) -> Any:
        return self.house.ask(alerts.open_alerts)

    async def held_back(self) -> int:
        return self.house.ask(telling.held_back)

    async def alerts_over(self, *, before: float) -> bool:
        return self.house.ask(alerts.alerts_over, before=before)

    async def recent_keys(self, *, since: float) -> Any:
        return self.house.ask(reading.recent_keys, since=since)

    async def changes(self, *, user_id: str) -> Any:
        return self.house.ask(changed.list_changes, user_id=user_id, after=None, limit=1)

    async def job_figures(self, *, now: float, since: float) -> Any:
        return self.house.ask(job_figures.job_figures, now=now, since=since)


class Supervisor:
    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.happened = clock, list[SupervisionEvent]()
        self.children: dict[str, ChildStatus] = {}

    async def events(self, *, after: int) -> tuple[SupervisionEvent, ...]:
        return tuple(event for event in self.happened if event.seq > after)

    def note(self, kind: EventKind, subject: str, detail: str = "", record: str = "") -> None:
        seq = self.happened[-1].seq + 1 if self.happened else 1
        self.happened.append(
            SupervisionEvent(seq=seq, at=self.clock.now(), kind=kind, subject=subject, detail=detail, record=record)
        )

    async def status(self) -> TreeStatus:
        return TreeStatus(ready=True, children=tuple(self.children.values()))

    def put(self, name: str, **fields: Any) -> None:
        self.children[name] = ChildStatus(name=name, **fields)


class Model:
    def __init__(self, role: str) -> None:
        self.role, self.phase = role, "ready"

    async def state(self) -> ModelState:
        return ModelState(role=self.role, model_id="m", phase=self.phase)  # type: ignore[arg-type]


class Instance:
    """What a Watch looks at, by a clock that moves when told to."""

    def __init__(self, home: Path) -> None:
        self.house = StoreHouse(home)
        self.house.system(c.CreateUser, new_user_id=c.OWNER, name="owner")
        self.house.do(a.CreateChannel, channel_id="n", name="n", kind="webhook", url="https://a.example", address="x")
        self.house.do(a.CreateSubscriber, subscriber_id="s", name="s", channel_id="n", severity="debug")
        self.settings: Settings = load_settings({"PERENNE_HOME": str(home)})
        self.supervisor = Supervisor(self.house.clock)
        self.supervisor.put("RunHost", state="ready")
        owners = {role: Model(role) for role in (names.LANGUAGE, names.EMBEDDING)}
        self.embedding = owners[names.EMBEDDING]
        self.directory = FakeDirectory(
            **{
                names.STORE_WRITER: Writer(self.house),
                names.store_reader(0): Reader(self.house),
                names.SUPERVISOR: self.supervisor,
                **owners,
            }
        )
        self.rules = RULES
        self.rise()

    def rise(self) -> None:
        """Another one, as after kill -9: nothing of the one before is left but what is on disk."""
        rules = tuple(rule for rule in self.rules if rule.name not in ("disk_low", "disk_full", "memory_low"))  # this PC's own
        self.watch = Watch(self.settings, self.directory, self.house.clock, (*rules, OWN))
        _put_off_asking(self.watch)

    async def pass_time(self, seconds: float, step_s: float = 3.0) -> None:
        for _ in range(int(seconds / step_s)):
            self.house.clock.advance(step_s)
            await self.watch.tick()

    def open(self) -> dict[str, Alert]:
        return {alert.fingerprint: alert for alert in self.house.ask(alerts.open_alerts)}

    def told(self) -> list[tuple[str, str]]:
        rows = reversed(self.house.ask(outbox.list_deliveries, None, 1_000, None).items)
        return [(entry.title, entry.transition) for row in rows for entry in row.entries]


def _put_off_asking(watch: Watch) -> None:
    """An outage is seen at the first try: with tries until a real deadline each test would take minutes."""
    store: Any = watch._store
    read, submit = store.read, store.submit
    store.read = lambda method, /, deadline_s=0.0, **query: read(method, deadline_s=0.0, **query)
    store.submit = lambda *commands, deadline_s=0.0: submit(*commands, deadline_s=0.0)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path)
    yield made
    made.house.close()


async def test_a_child_that_is_held_is_told_once_and_so_is_its_recovery(instance: Instance) -> None:
    instance.supervisor.put("RunHost", state="held", restarts=11, detail="it ended with code 3")
    await instance.pass_time(600)
    alert = instance.open()["child_held/RunHost"]
    assert "it ended with code 3" in alert.text
    assert alert.count > 1
    told = [("RunHost cannot stay up and is held", "firing")]
    assert instance.told() == told
    instance.supervisor.put("RunHost", state="ready", restarts=11)
    await instance.pass_time(60)
    assert instance.open() == {}
    assert instance.told() == [*told, (told[0][0], "resolved")]


async def test_a_clock_that_is_set_back_by_a_year_stops_no_look(instance: Instance) -> None:
    await instance.pass_time(6)
    instance.house.clock.set(-365 * 86_400.0)
    instance.supervisor.put("RunHost", state="held", restarts=11)
    await instance.pass_time(30)
    assert instance.open().keys() == {"child_held/RunHost", "child_crash_loop/RunHost"}
    instance.house.clock.set(-365 * 86_400.0)
    instance.supervisor.put("RunHost", state="ready", restarts=11)
    await instance.pass_time(60)
    assert instance.open().keys() == {"child_crash_loop/RunHost"}, "the restarts are of the last ten minutes"
    await instance.pass_time(900, step_s=15.0)
    assert instance.open() == {}


async def test_killed_at_any_moment_it_neither_doubles_nor_loses_an_alert(instance: Instance) -> None:
    instance.supervisor.put("RunHost", state="held", restarts=11)
    for _ in range(10):
        await instance.pass_time(9)
        instance.rise()
    instance.supervisor.put("RunHost", state="ready", restarts=11)
    for _ in range(4):
        await instance.pass_time(33)
        instance.rise()
    assert instance.open() == {}
    assert [what for _, what in instance.told()] == ["firing", "resolved"]


async def test_while_the_database_is_away_what_is_critical_is_kept_in_a_file_and_handed_in_once(instance: Instance) -> None:
    await instance.pass_time(6)
    instance.directory.kill(names.STORE_WRITER)
    began = instance.house.clock.now()
    await instance.pass_time(60)
    file = instance.settings.path("alerts", "waiting.json")
    assert [each["fingerprint"] for each in json.loads(file.read_text())] == ["database_away"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert instance.told() == []
    instance.rise()  # killed while the database is away
    await instance.pass_time(6)
    instance.directory.revive(names.STORE_WRITER)
    await instance.pass_time(3)
    assert instance.open()["database_away"].first_seen == began + 3
    assert json.loads(file.read_text()) == []
    await instance.pass_time(60)
    assert instance.open() == {}
    assert instance.told() == [("The database does not answer", "firing"), ("The database does not answer", "resolved")]


async def test_a_death_between_handing_in_and_forgetting_doubles_nothing(instance: Instance) -> None:
    await instance.pass_time(6)
    instance.directory.kill(names.STORE_WRITER)
    await instance.pass_time(60)
    file = instance.settings.path("alerts", "waiting.json")
    kept = file.read_text()
    instance.directory.revive(names.STORE_WRITER)
    await instance.pass_time(3)
    first = instance.open()["database_away"]
    file.write_text(kept)
    instance.rise()
    await instance.pass_time(3)
    assert instance.open()["database_away"].id == first.id
    assert [what for _, what in instance.told()] == ["firing"]


async def test_what_follows_from_a_dead_database_is_told_only_if_it_lasts(instance: Instance) -> None:
    instance.embedding.phase = "failed"
    await instance.pass_time(6)
    instance.directory.kill(names.STORE_WRITER)
    instance.supervisor.put("RunHost", state="degraded", detail="no database")
    await instance.pass_time(300)
    instance.directory.revive(names.STORE_WRITER)
    await instance.pass_time(6)
    assert instance.open()["child_degraded/RunHost"].inhibited_by == instance.open()["database_away"].id
    assert ("RunHost works in part only", "firing") not in instance.told()
    assert ("The embedding model cannot be used", "firing") in instance.told(), "that is no consequence"
    await instance.pass_time(60)
    assert ("RunHost works in part only", "firing") in instance.told()


async def test_a_supervisor_that_does_not_answer_is_told_of_and_what_it_said_before_stays(instance: Instance) -> None:
    instance.supervisor.put("RunHost", state="held")
    await instance.pass_time(30)
    instance.directory.kill(names.SUPERVISOR)
    await instance.pass_time(90)
    assert instance.open().keys() == {"child_held/RunHost", "supervisor_away"}


async def test_what_others_observed_is_heard(instance: Instance) -> None:
    await instance.pass_time(6)
    instance.watch.observe((Signal(name="pump.off", value=1, detail="no power"), Signal(name="no.such", value=1)))
    await instance.pass_time(12)
    assert instance.open()["pump_off"].text == "no power"
    instance.watch.observe((Signal(name="pump.off", value=0),))
    await instance.pass_time(30)
    assert instance.open() == {}


async def test_jobs_that_failed_or_do_not_move_are_told_of(instance: Instance) -> None:
    house = instance.house
    house.do(c.CreateProject, user_id=c.OWNER, project_id="p", name="p")
    for n in range(2):
        house.do(c.AddJsonLines, user_id=c.OWNER, job_id=f"job-{n}", project_id="p", blob_hash=str(n), size_bytes=1)
    (job,) = house.system(c.LeaseJobs, worker="w", limit=1, lease_s=3_000)
    house.system(c.FinishJob, job_id=job.id, lease_token=job.lease_token, state="failed", reason="it is damaged")
    await instance.pass_time(60)
    assert instance.open()["jobs_failed"].text == "1 failed within the last hour. The last: it is damaged"
    await instance.pass_time(1_200, step_s=30)
    assert "jobs_stuck" in instance.open()
    (job,) = house.system(c.LeaseJobs, worker="w", limit=1, lease_s=3_000)
    await instance.pass_time(120, step_s=30)
    assert "jobs_stuck" not in instance.open()


async def test_a_model_that_does_not_say_where_it_is_leaves_the_other_looked_at(instance: Instance) -> None:
    instance.directory.kill(names.LANGUAGE)
    instance.embedding.phase = "failed"
    await instance.pass_time(120)
    assert instance.open().keys() == {"model_failed/embedding"}


async def test_too_many_changes_are_summed_up_when_there_is_room(instance: Instance) -> None:
    for _ in range(12):
        instance.watch.observe((Signal(name="backup.failed", value=1),))
        await instance.pass_time(6)
        instance.watch.observe((Signal(name="backup.failed", value=0),))
        await instance.pass_time(6)
    assert [what for _, what in instance.told()] == ["firing", "resolved"] * 3
    await instance.pass_time(3_700, step_s=60)
    assert [what for _, what in instance.told()][6:] == ["summary"]


async def test_a_writer_that_is_lost_in_the_middle_of_a_look_takes_nothing_along(instance: Instance) -> None:
    await instance.pass_time(6)
    submit, calls = instance.watch._store.submit, 0

    async def breaks(*commands: c.Command, **given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:  # it is done, and the answer is lost
            await submit(*commands, **given)
            raise Unavailable("StoreWriter", 0.1)
        return await submit(*commands, **given)

    instance.watch._store.submit = breaks  # type: ignore[method-assign]
    instance.supervisor.put("RunHost", state="held")
    await instance.pass_time(30)
    assert instance.open().keys() == {"child_held/RunHost"}
    assert [what for _, what in instance.told()] == ["firing"]
