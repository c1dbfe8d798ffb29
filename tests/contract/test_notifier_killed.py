"""kill -9 of the process that sends, over and over, between a message and its record: none is lost, none comes more than twice, and a
message that comes twice has the same key."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from actors.alerts.channels.signature import new_secret
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.testing import eventually
from tests.contract.sinks import HttpSink
from tests.unit.store.store_house import StoreHouse

ROOT = Path(__file__).resolve().parents[2]
MESSAGES, DEATHS = 8, 2


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    made = HttpSink()
    yield made
    made.close()


def _filled(home: Path, url: str, sink: HttpSink) -> list[str]:
    """An outbox with so many messages to the sink; their alerts."""
    house = StoreHouse(home, url=url)
    house.system(c.CreateUser, new_user_id=c.OWNER, name="owner")
    made = {"name": "w", "kind": "webhook", "url": sink.url(), "address": "http://…", "signing_secret": new_secret()}
    house.do(a.CreateChannel, user_id=c.OWNER, channel_id="w", **made)
    house.do(a.CreateSubscriber, user_id=c.OWNER, subscriber_id="s", name="s", channel_id="w", severity="debug")
    pace = a.Pace(wait_s=0.0, interval_s=0.0, per_fingerprint=100, in_all=1_000)
    told = [f"alr_{n}" for n in range(MESSAGES)]
    for id in told:
        house.clock.advance(1.0)
        given = {"fingerprint": id, "severity": "warning", "event": "test.sent", "title": id, "pace": pace}
        house.system(a.RaiseAlert, alert_id=id, **given)
    house.close()
    return told


def _start(home: Path, url: str, after: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.notifying", str(home), url, str(after)], env=environment, cwd=ROOT
    )


async def test_a_sender_that_is_killed_before_it_records_loses_nothing_and_doubles_one_at_most(
    tmp_path: Path, database_of: Callable[[Path], str], sink: HttpSink
) -> None:
    url = database_of(tmp_path)
    (tmp_path / "config.yaml").write_text("outgoing: {allow: [127.0.0.1/32]}\n")
    told = _filled(tmp_path, url, sink)
    for death in range(DEATHS):
        process = _start(tmp_path, url, 2 + death)
        assert process.wait(60) == -signal.SIGKILL
    process = _start(tmp_path, url, 0)
    try:
        await eventually(lambda: len(sink.got) == MESSAGES + DEATHS, within_s=60)
    finally:
        process.kill()
        process.wait(10)
    keys = [got.key for got in sink.got]
    assert sorted(Counter(keys).values()) == [1] * (MESSAGES - DEATHS) + [2] * DEATHS
    assert len(set(keys)) == MESSAGES
    bodies = {got.key: orjson.loads(got.body) for got in sink.got}
    first = [bodies[key]["data"]["alert_id"] for key in dict.fromkeys(keys)]
    assert first == told  # in order, and whole
    assert all(orjson.loads(got.body) == bodies[got.key] for got in sink.got)  # a duplicate says the same
    house = StoreHouse(tmp_path, url=url)
    try:
        assert house.rows("SELECT state, count(*) FROM deliveries GROUP BY state") in (
            [("delivered", MESSAGES)],
            [("delivered", MESSAGES - 1), ("leased", 1)],  # the last was killed off by this test
            [("leased", 1), ("delivered", MESSAGES - 1)],
        )
    finally:
        house.close()
