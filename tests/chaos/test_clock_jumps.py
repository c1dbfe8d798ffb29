"""The clock is moved by hours and by years, both ways, while jobs are leased and done, messages are sent and the database is written."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.alerts.centre import Raise, Resolve
from actors.alerts.channels.order import Sent
from perenne.errors import LeaseLost
from perenne.messages import commands as c
from perenne.messages.records import Job
from perenne.names import DELIVERY_WAIT_S_MAX
from tests.chaos.recorder import Recorder
from tests.unit.alerts.notifier_house import NotifierHouse
from tests.unit.alerts.test_alert_centre import centre, ill
from tests.unit.alerts.test_alert_rules import alert_of
from tests.unit.store.store_house import StoreHouse

PROMISE = "each job has one holder and ends, each command is done once, each message arrives, in order: whatever the clock says"
HOUR_S, YEAR_S = 3_600.0, 365 * 86_400.0
JUMPS = (HOUR_S, -HOUR_S, 5 * HOUR_S, -26 * HOUR_S, YEAR_S, -YEAR_S, 30 * YEAR_S, -30 * YEAR_S)
REFUSED = Sent(ok=False, words="Connection refused")
SEEDS = range(1, int(os.environ.get("PERENNE_CHAOS_ROUNDS", "4")) + 1)
STEPS, JOBS, LEASE_S = 150, 12, 30.0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StoreHouse]:
    made = StoreHouse(tmp_path / "home").people()
    yield made
    made.close()


@dataclass
class Workers:
    """Three that lease jobs and end them, one step at a time, each with what it believes that it holds."""

    house: StoreHouse
    chance: random.Random
    held: list[Job] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter[str])
    lost: int = 0

    def lease(self) -> None:
        worker = f"worker-{self.chance.randrange(3)}"
        self.held += self.house.system(c.LeaseJobs, worker=worker, limit=2, lease_s=LEASE_S)

    def work(self) -> None:
        """Go on with one of those in hand: renew it, give it back, or end it."""
        if not self.held:
            return
        job = self.held[self.chance.randrange(len(self.held))]
        mine: dict[str, Any] = {"job_id": job.id, "lease_token": job.lease_token}
        try:
            match self.chance.randrange(4):
                case 0:
                    self.house.system(c.RenewJob, lease_s=LEASE_S, done=0, **mine)
                case 1:
                    self.house.system(c.ReleaseJob, delay_s=10.0, reason="the embedder is away", **mine)
                    self.held.remove(job)
                case _:
                    self.house.system(c.FinishJob, state="done", **mine)
                    self.ended[job.id] += 1
                    self.held.remove(job)
        except LeaseLost:
            self.lost += 1
            self.held.remove(job)


@pytest.mark.parametrize("seed", SEEDS)
def test_jobs_and_commands_hold_while_the_clock_is_moved(house: StoreHouse, recorder: Recorder, seed: int) -> None:
    chance = random.Random(seed)
    workers, sent = Workers(house, chance), list[c.Command]()
    for n in range(JOBS):
        house.do(c.AddJsonLines, job_id=f"job-{n}", project_id="ana-home", blob_hash=f"b{n}", size_bytes=1)
    for n in range(STEPS):
        chance.choice((workers.lease, workers.work, workers.work))()
        talk = c.CreateConversation(command_id=f"c-{n}", user_id="ana", conversation_id=f"talk-{n}", project_id="ana-home")
        sent.append(talk)
        assert house.send(talk)[0].error is None
        again = chance.choice(sent)  # by whoever had no answer
        (outcome,) = house.send(again)
        assert outcome.error is None
        assert outcome.value.id == again.conversation_id  # type: ignore[attr-defined]
        house.clock.advance(chance.uniform(0, 10))
        if n % 5 == 0:
            house.clock.set(chance.choice(JUMPS))
            house.writer._purged = -1e9  # what is old is forgotten now
    for _ in range(20 * JOBS):  # and the clock stays as it is: all that is left is taken, and done
        house.clock.advance(LEASE_S)
        workers.lease()
        workers.work()
    left = house.rows("SELECT id, state FROM jobs WHERE state != 'done'")
    assert left == [], f"seed {seed}"
    assert workers.ended == Counter({f"job-{n}": 1 for n in range(JOBS)}), f"seed {seed}"
    assert house.rows("SELECT count(*) FROM conversations") == [(STEPS,)]
    seqs = [row[0] for row in house.rows("SELECT origin_seq FROM changes ORDER BY seq")]
    clocks = [row[0] for row in house.rows("SELECT hlc FROM changes ORDER BY seq")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert clocks == sorted(set(clocks)), "the feed's own clock went back"
    recorder.round("the clock jumps: jobs and commands", PROMISE, None, acknowledged=STEPS + JOBS)


@pytest.mark.parametrize("seed", SEEDS)
async def test_messages_arrive_while_the_clock_is_moved(house: StoreHouse, recorder: Recorder, seed: int) -> None:
    chance, there = random.Random(seed), NotifierHouse(house)
    told: list[str] = []
    for name in ("well", "ill"):
        there.channel(name)
    for _ in range(12):
        told += there.tell(chance.randrange(3))
        if chance.random() < 0.5:
            there.sinks.down["https://ill.example"] = REFUSED
        else:
            there.sinks.down.clear()
        await there.work()
        house.clock.set(chance.choice(JUMPS))
    there.sinks.down.clear()
    # Set back by a day a message may wait for that day: it can't be told from one that is held back over night.
    await there.pass_time(2 * DELIVERY_WAIT_S_MAX, step_s=900.0)
    for name in ("well", "ill"):
        assert sorted(there.told(name)) == told, f"seed {seed}: {name}"
        keys = there.sinks.keys(f"https://{name}.example")
        assert len(keys) == len(set(keys)), "a message came twice"
    recorder.round("the clock jumps: messages", PROMISE, None, acknowledged=2 * len(told))


@pytest.mark.parametrize("jump_s", JUMPS)
def test_what_is_wrong_is_told_and_its_end_too_whatever_the_clock_does(jump_s: float, recorder: Recorder) -> None:
    now = 40 * YEAR_S
    watched = centre()
    ill(watched, "disk.room", now, 0.5)
    now += jump_s
    ill(watched, "disk.room", now, 0.5)
    (made,) = [each for each in watched.plan((), now + 5) if isinstance(each, Raise)]
    alert = alert_of(made, now + 5, now + 5)
    now += 5 + jump_s
    for _ in range(200):
        now += 5
        ill(watched, "disk.room", now, 90.0)
        if any(isinstance(each, Resolve) for each in watched.plan((alert,), now)):
            break
    else:
        raise AssertionError("the end of it was never told")
    recorder.round("the clock jumps: alerts", "what is wrong is told, and its end", None, acknowledged=2)


def test_a_question_has_its_whole_time_whatever_the_clock_does(house: StoreHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines count the seconds that pass: none is measured with the clock that is set."""
    wall, jumps = time.time, iter(JUMPS * 100)
    monkeypatch.setattr(time, "time", lambda: wall() + next(jumps))
    for n in range(len(JUMPS)):
        house.do(c.CreateConversation, conversation_id=f"talk-{n}", project_id="ana-home")
        assert house.rows("SELECT count(*) FROM conversations") == [(n + 1,)]
