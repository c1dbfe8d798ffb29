"""The host of runs dies by SIGKILL in the middle of an answer."""

from collections.abc import Callable

from perenne.api import Perenne
from tests.chaos.answers import LONG, QUESTION, assert_whole, watch
from tests.chaos.recorder import Recorder

PROMISE = "the answer goes on or says that it began again; nothing shown is missing"


async def test_an_answer_goes_on_when_its_host_is_killed(
    api: Perenne, kill: Callable[[str], float], recorder: Recorder, round_number: int
) -> None:
    posted = await api.post(QUESTION, options=LONG)
    shown = await watch(api, posted.run.id, lambda: kill("RunHost"))
    recorder.round("kill -9 of the host of runs", PROMISE, shown.silence_s, acknowledged=len(shown.seqs))
    await assert_whole(api, shown, posted.run.conversation_id, posted.reply.id)
