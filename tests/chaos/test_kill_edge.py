"""The replica that holds a client's stream dies by SIGKILL in the middle of an answer."""

import os
import signal

from perenne.api import Perenne
from tests.chaos.answers import LONG, QUESTION, assert_whole, watch
from tests.chaos.recorder import Recorder
from tests.live.running import RunningInstance

PROMISE = "a cut stream resumes at the next sequence number, nothing missing, nothing twice"


async def test_a_cut_stream_resumes_where_it_was_when_the_edge_is_killed(
    instance: RunningInstance, api: Perenne, recorder: Recorder, round_number: int
) -> None:
    replicas = instance.pids_of("ray::ServeReplica:edge")
    assert replicas

    def strike() -> None:
        for pid in replicas:
            os.kill(pid, signal.SIGKILL)

    posted = await api.post(QUESTION, options=LONG)
    shown = await watch(api, posted.run.id, strike)
    recorder.round("kill -9 of the edge's replica", PROMISE, shown.silence_s, acknowledged=len(shown.seqs))
    await assert_whole(api, shown, posted.run.conversation_id, posted.reply.id)
    assert shown.restarts == 0, "the run itself was not touched"
    assert not set(replicas) & set(instance.processes())
