"""The host of runs dies by SIGKILL in the middle of an answer."""

import time
from collections.abc import Callable

from perenne.api import Perenne
from tests.chaos.answers import LONG, QUESTION, Shown, assert_whole
from tests.chaos.recorder import Recorder

PROMISE = "the answer goes on or says that it began again; nothing shown is missing"


async def test_an_answer_goes_on_when_its_host_is_killed(
    api: Perenne, kill: Callable[[str], float], recorder: Recorder, round_number: int
) -> None:
    posted = await api.post(QUESTION, options=LONG)
    shown, struck, recovery_s = Shown(), None, 0.0
    async for event in api.events(posted.run.id):
        shown.see(event)
        if struck is not None and not recovery_s:
            recovery_s = time.monotonic() - struck
        if struck is None and event.kind == "delta" and len(shown.text) > 20:
            struck = kill("RunHost")
    assert struck is not None, "the answer ended before it could be struck"
    recorder.round("kill -9 of the host of runs", PROMISE, recovery_s, acknowledged=len(shown.seqs))
    await assert_whole(api, shown, posted.run.conversation_id, posted.reply.id)
