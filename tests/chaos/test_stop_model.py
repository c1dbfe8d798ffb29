"""The language model's process hangs (SIGSTOP) in the middle of an answer."""

import os
import signal
import time

from perenne.api import Perenne
from tests.chaos.answers import LONG, QUESTION, Shown, assert_whole
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "a hung model is replaced; the answer goes on or says that it began again"


async def test_an_answer_goes_on_when_its_model_hangs(
    instance: RunningInstance, api: Perenne, recorder: Recorder, round_number: int
) -> None:
    posted = await api.post(QUESTION, options=LONG)
    shown, struck, recovery_s = Shown(), 0.0, 0.0
    (pid,) = instance.pids_of("ray::ServeReplica:language")
    async for event in api.events(posted.run.id):
        shown.see(event)
        if event.kind != "delta":
            continue
        if struck and not recovery_s and time.monotonic() - struck > 1.0:
            recovery_s = time.monotonic() - struck  # a delta a second later is not one that was on its way
        if not struck and len(shown.text) > 20:
            os.kill(pid, signal.SIGSTOP)
            struck = time.monotonic()
    assert struck, "the answer ended before it could be struck"
    assert recovery_s, "no word came after the model hung"
    recorder.round("SIGSTOP of the language model", PROMISE, recovery_s, acknowledged=len(shown.seqs))
    await assert_whole(api, shown, posted.run.conversation_id, posted.reply.id)
    assert pid not in instance.processes()
