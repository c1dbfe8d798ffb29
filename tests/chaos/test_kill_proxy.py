"""HAProxy, the actor that keeps it and the one that stands in for it die by SIGKILL while eight clients write."""

import os
import signal

import pytest

from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "the address answers again by itself; what was acknowledged is there, once"


@pytest.mark.parametrize("victim", ["haproxy", "ray::HAProxyManager", "ray::ProxyActor"])
async def test_the_address_answers_again_when_the_proxy_is_killed(
    instance: RunningInstance, recorder: Recorder, round_number: int, victim: str
) -> None:
    pids = [pid for pid in instance.processes() if victim in _title(instance, pid)]
    assert pids, f"no process of {victim}: {[_title(instance, pid) for pid in instance.processes()]}"
    async with Load(instance) as load:
        await load.acknowledged(50)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        recovery_s = await load.acknowledged(30)
    account = await load.check()
    recorder.round(
        f"kill -9 of {victim.removeprefix('ray::')}", PROMISE, recovery_s, acknowledged=len(account.acknowledged),
        lost=len(account.lost), doubled=len(account.doubled) + len(account.refused),
    )  # fmt: skip
    assert account.clean, account


def _title(instance: RunningInstance, pid: int) -> str:
    held = instance.processes().get(pid)
    return "" if held is None else " ".join(held.command()[:1])
