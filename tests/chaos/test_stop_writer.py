"""The one writer hangs (SIGSTOP) while eight clients write: Ray sees nothing wrong, the Supervisor must."""

import os
import signal

from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "a hung writer is replaced; what was acknowledged is there, once"


async def test_nothing_acknowledged_is_lost_or_doubled_when_the_writer_hangs(
    instance: RunningInstance, recorder: Recorder, round_number: int
) -> None:
    pid = instance.child("StoreWriter").pid
    async with Load(instance) as load:
        await load.acknowledged(50)
        os.kill(pid, signal.SIGSTOP)
        recovery_s = await load.acknowledged(30)
    account = await load.check()
    recorder.round(
        "SIGSTOP of the writer", PROMISE, recovery_s, acknowledged=len(account.acknowledged),
        lost=len(account.lost), doubled=len(account.doubled) + len(account.refused),
    )  # fmt: skip
    assert account.clean, account
    assert pid not in instance.processes()
