"""The process that Ray's workers are forked from hangs (SIGSTOP), then dies, while eight clients write: nobody may wait for it."""

import asyncio
import contextlib
import os
import signal
import socket
import time

import psutil
import pytest

from cluster.zygote import bell_path
from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "it is replaced, and new workers are forked from the next"
ZYGOTE = "cluster.zygote"


def forked_from(instance: RunningInstance, zygote: int) -> list[int]:
    """Workers of Ray's; one that began the slow way is a child of Ray's node process."""
    return [pid for pid in instance.pids_of("ray::") if psutil.pid_exists(pid) and psutil.Process(pid).ppid() == zygote]


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "died"])
async def test_workers_are_forked_again_after_the_zygote_hung_or_died(
    instance: RunningInstance, recorder: Recorder, round_number: int, number: signal.Signals
) -> None:
    (first,) = zygotes(instance)
    async with Load(instance) as load:
        await load.acknowledged(50)
        os.kill(first, number)
        struck = time.monotonic()
        assert await asyncio.to_thread(instance.until, lambda: zygotes(instance) not in ([], [first]), 90)
        (second,) = zygotes(instance)
        assert await asyncio.to_thread(
            instance.until, lambda: answers(instance), 60
        )  # a worker asked for sooner may begin the slow way
        for idle in instance.pids_of("ray::IDLE"):  # Ray takes one of these, where there is one, and starts none
            with contextlib.suppress(ProcessLookupError):
                os.kill(idle, signal.SIGKILL)
        await asyncio.to_thread(instance.kill_child, "StoreReader-0")
        assert await asyncio.to_thread(instance.until, lambda: forked_from(instance, second) != [], 60)
        recovery_s = time.monotonic() - struck
        await load.acknowledged(30)
    account = await load.check()
    recorder.round(
        f"{number.name} of the zygote", PROMISE, recovery_s, acknowledged=len(account.acknowledged),
        lost=len(account.lost), doubled=len(account.doubled) + len(account.refused),
    )  # fmt: skip
    assert account.clean, account


def answers(instance: RunningInstance) -> bool:
    """Whether the zygote there is has loaded all, and forks."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line, contextlib.suppress(OSError):
        line.settimeout(5.0)
        line.connect(bell_path(instance.settings.ray_dir))
        return line.recv(1) == b"1"
    return False


def zygotes(instance: RunningInstance) -> list[int]:
    """A fork has its command line for a moment, and another parent."""
    return [
        pid for pid in instance.pids_of(ZYGOTE) if psutil.pid_exists(pid) and psutil.Process(pid).ppid() == instance.root_pid
    ]
