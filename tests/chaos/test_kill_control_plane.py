"""Ray's control plane (GCS) dies by SIGKILL while eight clients write; nothing of Ray's restarts it, the root does."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "requests go on, the control plane comes back, and what dies afterwards is replaced"


async def test_requests_go_on_and_deaths_are_mended_after_the_control_plane_is_killed(
    instance: RunningInstance, kill: Callable[[str], float], recorder: Recorder, round_number: int
) -> None:
    (pid,) = instance.pids_of("gcs_server")
    async with Load(instance) as load:
        await load.acknowledged(50)
        os.kill(pid, signal.SIGKILL)
        struck = time.monotonic()
        await load.acknowledged(30)
        assert await asyncio.to_thread(instance.until, lambda: instance.pids_of("gcs_server") not in ([], [pid]), 60)
        recovery_s = time.monotonic() - struck
        await asyncio.to_thread(instance.await_ready)
        kill("StoreWriter")
        await load.acknowledged(30)
    account = await load.check()
    recorder.round(
        "kill -9 of the control plane", PROMISE, recovery_s, acknowledged=len(account.acknowledged),
        lost=len(account.lost), doubled=len(account.doubled) + len(account.refused),
    )  # fmt: skip
    assert account.clean, account
