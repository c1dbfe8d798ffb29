"""The language model's process hangs (SIGSTOP) in the middle of an answer."""

import os
import signal

from perenne.api import Perenne
from tests.chaos.answers import LONG, QUESTION, assert_whole, watch
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "a hung model is replaced; the answer goes on or says that it began again"


async def test_an_answer_goes_on_when_its_model_hangs(
    instance: RunningInstance, api: Perenne, recorder: Recorder, round_number: int
) -> None:
    (pid,) = instance.pids_of("ray::ServeReplica:language")
    posted = await api.post(QUESTION, options=LONG)
    shown = await watch(api, posted.run.id, lambda: os.kill(pid, signal.SIGSTOP))
    recorder.round("SIGSTOP of the language model", PROMISE, shown.silence_s, acknowledged=len(shown.seqs))
    await assert_whole(api, shown, posted.run.conversation_id, posted.reply.id)
    assert pid not in instance.processes()
