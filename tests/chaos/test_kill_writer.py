"""The one writer dies by SIGKILL while eight clients write."""

from collections.abc import Callable

from tests.chaos.load import Load
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "what was acknowledged is there, once; writing goes on by itself"


async def test_nothing_acknowledged_is_lost_or_doubled_when_the_writer_is_killed(
    instance: RunningInstance, kill: Callable[[str], float], recorder: Recorder, round_number: int
) -> None:
    async with Load(instance) as load:
        await load.acknowledged(50)
        kill("StoreWriter")
        recovery_s = await load.acknowledged(30)
    account = await load.check()
    recorder.round(
        "kill -9 of the writer", PROMISE, recovery_s, acknowledged=len(account.acknowledged),
        lost=len(account.lost), doubled=len(account.doubled) + len(account.refused),
    )  # fmt: skip
    assert account.clean, account
