"""Every process of the instance dies at once by SIGKILL while eight clients write; then it is started again."""

import asyncio
import os
import signal
import time

import pytest

from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "after a start, what was acknowledged is there, once"


def kill_all(instance: RunningInstance) -> None:
    """The root first, so that it mends nothing; then all the rest, until none is left."""
    instance.kill_root()
    while held := instance.processes():
        for pid in held:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.mark.timeout(900)
async def test_nothing_acknowledged_is_lost_or_doubled_when_everything_is_killed_mid_write(
    instance: RunningInstance, recorder: Recorder, round_number: int
) -> None:
    async with Load(instance) as load:
        await load.acknowledged(100)
        kill_all(instance)
        begun = time.monotonic()
        await asyncio.to_thread(instance.start)
        recovery_s = time.monotonic() - begun
        await load.acknowledged(30)
    account = await load.check()
    recorder.round(
        "kill -9 of everything at once", PROMISE, recovery_s, acknowledged=len(account.acknowledged),
        lost=len(account.lost), doubled=len(account.doubled) + len(account.refused),
    )  # fmt: skip
    assert account.clean, account
