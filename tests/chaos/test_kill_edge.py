"""The replica that holds a client's stream dies by SIGKILL in the middle of an answer."""

import os
import signal
import time

from perenne.api import Perenne
from tests.chaos.answers import LONG, QUESTION, Shown, assert_whole
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "a cut stream resumes at the next sequence number, nothing missing, nothing twice"


async def test_a_cut_stream_resumes_where_it_was_when_the_edge_is_killed(
    instance: RunningInstance, api: Perenne, recorder: Recorder, round_number: int
) -> None:
    posted = await api.post(QUESTION, options=LONG)
    shown, struck, recovery_s = Shown(), 0.0, 0.0
    async for event in api.events(posted.run.id):
        shown.see(event)
        if struck and not recovery_s:
            recovery_s = time.monotonic() - struck
        if not struck and event.kind == "delta" and len(shown.text) > 20:
            for pid in instance.pids_of("ray::ServeReplica:edge"):
                os.kill(pid, signal.SIGKILL)
            struck = time.monotonic()
    assert struck, "the answer ended before it could be struck"
    recorder.round("kill -9 of the edge's replica", PROMISE, recovery_s, acknowledged=len(shown.seqs))
    await assert_whole(api, shown, posted.run.conversation_id, posted.reply.id)
    assert shown.restarts == 0, "the run itself was not touched"
