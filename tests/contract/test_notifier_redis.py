"""Hints over a real Redis, which is killed amid them: a hint that is lost costs a look at the database, never a message."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from actors.alerts.notifier import Notifier
from actors.alerts.notifier_bell import RedisBell
from perenne.testing import eventually
from tests.unit.alerts.notifier_house import NotifierHouse
from tests.unit.store.store_house import StoreHouse

TOPIC = "perenne:test:outbox"
POLL_S = 2.0


class RedisServer:
    """Debian's, on a port of its own, keeping nothing."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://:a-secret@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        given = (
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--requirepass",
            "a-secret",
        )
        self._process = subprocess.Popen(
            [self._program, *given, "--dir", str(self._folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10.0
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            assert time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A skip on a laptop without it, an error in CI."""
    program = shutil.which("redis-server")
    if program is None:
        said = "Redis is not here: sudo apt install redis-server"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    made = RedisServer(program, tmp_path)
    yield made
    made.kill()


@pytest.fixture
async def there(tmp_path: Path, redis: RedisServer) -> AsyncIterator[NotifierHouse]:
    """A Notifier that is told over Redis, and looks by itself every two seconds."""
    house = StoreHouse(tmp_path / "home")
    made = NotifierHouse(house)
    made.channel("one")
    made.notifier = Notifier("Notifier", made.outbox, made.sinks, RedisBell(redis.url, TOPIC), made.clock, poll_s=POLL_S)
    running = asyncio.create_task(made.notifier.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    house.close()


def _bell(there: NotifierHouse) -> RedisBell:
    bell = there.notifier._bell
    assert isinstance(bell, RedisBell)
    return bell


async def test_hints_come_over_redis_from_another_process_and_its_death_costs_a_look(
    there: NotifierHouse, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await eventually(lambda: _bell(there).state() == "redis", within_s=10)
    other = RedisBell(redis.url, TOPIC)  # what rings on another PC
    ringing = asyncio.create_task(other.run())
    await eventually(lambda: other.state() == "redis", within_s=10)
    there.notifier._poll_s = 60.0
    await asyncio.sleep(POLL_S + 0.2)  # from here on only a hint wakes it
    told = there.tell(1)
    other.ring()
    await eventually(lambda: there.told("one") == told, within_s=10)

    there.notifier._poll_s = POLL_S
    there.notifier.wake()
    redis.kill()
    await eventually(lambda: _bell(there).state() != "redis", within_s=10)
    told += there.tell(3)
    other.ring()  # to nobody
    began = time.monotonic()
    await eventually(lambda: there.told("one") == told, within_s=20)
    assert time.monotonic() - began < POLL_S + 8.0  # a look, on a PC that may be busy
    told += there.tell(1)
    there.notifier.wake()  # within the process it needs no Redis
    await eventually(lambda: there.told("one") == told, within_s=10)

    redis.start()
    await eventually(lambda: _bell(there).state() == other.state() == "redis", within_s=30)
    told += there.tell(1)
    other.ring()
    await eventually(lambda: there.told("one") == told, within_s=10)
    assert len(there.sinks.keys("https://one.example")) == len(told)
    assert "hints do not come over Redis" in caplog.text
    assert "a-secret" not in caplog.text
    ringing.cancel()
    await asyncio.gather(ringing, return_exceptions=True)
