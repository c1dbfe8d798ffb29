"""The Supervisor dies by SIGKILL while eight clients write."""

import asyncio
import os
import signal
import time

from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "nothing else notices; it finds its children and doubles none"


async def test_nothing_notices_when_the_supervisor_is_killed(
    instance: RunningInstance, recorder: Recorder, round_number: int
) -> None:
    before = {child.name: child.pid for child in instance.await_ready().children}
    (pid,) = instance.pids_of("ray::Supervisor")
    async with Load(instance) as load:
        await load.acknowledged(50)
        os.kill(pid, signal.SIGKILL)
        struck = time.monotonic()
        await load.acknowledged(30)
        assert await asyncio.to_thread(instance.until, lambda: instance.pids_of("ray::Supervisor") not in ([], [pid]), 60)
        status = await asyncio.to_thread(instance.await_ready)
        recovery_s = time.monotonic() - struck
    account = await load.check()
    recorder.round(
        "kill -9 of the Supervisor", PROMISE, recovery_s, acknowledged=len(account.acknowledged),
        lost=len(account.lost), doubled=len(account.doubled) + len(account.refused),
    )  # fmt: skip
    assert account.clean, account
    assert {child.name: child.pid for child in status.children} == before
