"""PostgreSQL is stopped for some seconds while clients write, in order and as a power cut would, and started again; and Redis, over which
the Notifier is rung."""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.alerts.notifier import Notifier
from actors.alerts.notifier_bell import RedisBell
from actors.store import talks
from perenne.errors import Busy, PerenneError, StorageFailed, Unavailable
from perenne.messages import commands as c
from perenne.testing import eventually
from tests.chaos.recorder import Recorder
from tests.contract.test_notifier_redis import RedisServer
from tests.postgresql import Cluster, binaries
from tests.unit.alerts.notifier_house import NotifierHouse
from tests.unit.store.store_house import StoreHouse

PROMISE = "what was acknowledged is there, once; writing and reading go on by themselves"
ROUNDS = range(1, int(os.environ.get("PERENNE_CHAOS_ROUNDS", "1")) + 1)
CLIENTS, AWAY_S, PATIENCE_S = 8, 2.0, 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of this file's own, since it is stopped. A skip on a laptop without one, an error in CI."""
    programs = binaries()
    if programs is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PostgreSQL is not here: sudo apt install postgresql")
    assert programs is not None
    made = Cluster(programs)
    yield made
    made.close()


@dataclass
class Load:
    """Clients that write without a pause, each command under one id until it is acknowledged, as the client library does."""

    house: StoreHouse
    acknowledged: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def client(self, number: int) -> None:
        n = 0
        while not self.stopping.is_set():
            n += 1
            id = f"{number}-{n}"
            command = c.CreateConversation(command_id=f"cmd-{id}", user_id="ana", conversation_id=f"talk-{id}", title=id)
            while not self.stopping.is_set():
                try:
                    (outcome,) = self.house.send(command)
                    error = outcome.error
                except PerenneError as failure:
                    error = failure
                if error is None:
                    self.acknowledged.append(f"talk-{id}")
                    break
                (self.refusals if isinstance(error, Unavailable | Busy | StorageFailed) else self.odd).append(str(error))
                time.sleep(0.02)

    def until(self, more: int) -> float:
        """Wait for so many more acknowledgements; how long the first of them took."""
        begun, from_there, first_s = time.monotonic(), len(self.acknowledged), 0.0
        while len(self.acknowledged) < from_there + more:
            if not first_s and len(self.acknowledged) > from_there:
                first_s = time.monotonic() - begun
            assert time.monotonic() - begun < PATIENCE_S, f"nothing is written any more: {self.refusals[-1:]}"
            time.sleep(0.005)
        return first_s


@pytest.mark.parametrize("round_of", ROUNDS)
@pytest.mark.parametrize("hard", [False, True], ids=["in order", "as a power cut"])
def test_nothing_acknowledged_is_lost_or_doubled_when_postgresql_goes_and_comes_back(
    cluster: Cluster, recorder: Recorder, tmp_path: Path, hard: bool, round_of: int
) -> None:
    house = StoreHouse(tmp_path, url=cluster.of_home(tmp_path)).people()
    load = Load(house)
    house.ask(talks.counts)
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            try:
                waited = [clients.submit(load.client, number) for number in range(CLIENTS)]
                load.until(200)
                cluster.stop(hard)
                with pytest.raises(Unavailable):
                    house.ask(talks.counts)
                time.sleep(AWAY_S)
                cluster.start()
                recovery_s = load.until(200)
            finally:
                load.stopping.set()
            for each in waited:
                each.result(PATIENCE_S)
        assert load.odd == []
        assert load.refusals, "nobody noticed that it was away"
        kept = [row[0] for row in house.rows("SELECT id FROM conversations")]
        lost = set(load.acknowledged) - set(kept)
        assert not lost
        assert len(kept) == len(set(kept))
        seqs = [row[0] for row in house.rows("SELECT origin_seq FROM changes ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1)), "the feed has a gap"
    finally:
        house.close()
    how = "as a power cut would" if hard else "in order"
    recorder.round(f"PostgreSQL is stopped {how}, and started again", PROMISE, recovery_s, acknowledged=len(load.acknowledged))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    program = shutil.which("redis-server")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Redis is not here: sudo apt install redis-server")
    assert program is not None
    made = RedisServer(program, tmp_path)
    yield made
    made.kill()


@pytest.mark.parametrize("round_of", ROUNDS)
async def test_messages_arrive_while_redis_is_away(
    redis: RedisServer, recorder: Recorder, tmp_path: Path, round_of: int
) -> None:
    house = StoreHouse(tmp_path / "home")
    there = NotifierHouse(house)
    there.channel("one")
    bell = RedisBell(redis.url, "perenne:test:gone")
    there.notifier = Notifier("Notifier", there.outbox, there.sinks, bell, there.clock)
    running, loop = asyncio.create_task(there.notifier.run()), asyncio.get_running_loop()
    try:
        await eventually(lambda: bell.state() == "redis", within_s=30)
        told = there.tell(2)
        there.notifier.wake()
        await eventually(lambda: there.told("one") == told, within_s=30)
        redis.kill()
        await eventually(lambda: bell.state() != "redis", within_s=30)
        begun = loop.time()
        told += there.tell(3)  # nobody rings: only the look at the database finds them
        await eventually(lambda: there.told("one") == told, within_s=30)
        took_s = loop.time() - begun
        redis.start()
        await eventually(lambda: bell.state() == "redis", within_s=60)
        told += there.tell(1)
        there.notifier.wake()
        await eventually(lambda: there.told("one") == told, within_s=30)
        assert len(there.sinks.keys("https://one.example")) == len(told), "a message came twice"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        house.close()
    recorder.round("Redis is killed and started again", "messages arrive, once", took_s, acknowledged=len(told))
