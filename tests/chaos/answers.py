"""Answers under fire: a run is followed to its end, and what was shown must be what is kept."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from perenne.api import Perenne
from perenne.messages.records import RunEvent, RunOptions

LONG = RunOptions(grounded=False, max_tokens=160, seed=7, temperature=0.0)  # long enough to be struck in its middle
QUESTION = "Write a long story about a lighthouse keeper and the sea."
FOLLOW_S = 150.0  # the longest that an answer may take, its disaster included
_IN_THE_MIDDLE = 20  # characters shown before the strike


@dataclass
class Shown:
    """What a reader saw: the text since the last `restarted`, and every sequence number. `silence_s`: the longest wait for a
    next event after the strike, which is how long recovery took."""

    text: str = ""
    seqs: list[int] = field(default_factory=list)
    restarts: int = 0
    end: RunEvent | None = None
    struck: bool = False
    silence_s: float = 0.0

    def see(self, event: RunEvent) -> None:
        self.seqs.append(event.seq)
        if event.kind == "delta":
            self.text += event.data["text"]
        elif event.kind == "restarted":
            self.text, self.restarts = "", self.restarts + 1
        elif event.kind in ("done", "error"):
            self.end = event


async def watch(api: Perenne, run_id: str, strike: Callable[[], object], within_s: float = FOLLOW_S) -> Shown:
    """Follow a run and strike in the middle of its answer; what was shown until its end, or until the time was over."""
    shown, loop = Shown(), asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            last_at = loop.time()
            async for event in api.events(run_id):
                now = loop.time()
                if shown.struck:
                    shown.silence_s = max(shown.silence_s, now - last_at)
                last_at = now
                shown.see(event)
                if not shown.struck and event.kind == "delta" and len(shown.text) > _IN_THE_MIDDLE:
                    strike()
                    shown.struck, last_at = True, loop.time()
    return shown


async def kept_text(api: Perenne, conversation_id: str, message_id: str) -> str:
    """The answer as the conversation holds it."""
    page = await api.messages(conversation_id)
    return next(message.text for message in page.items if message.id == message_id)


async def assert_whole(api: Perenne, shown: Shown, conversation_id: str, message_id: str) -> None:
    """The reader saw each event once and in order, the run ended well, and what was shown is what is kept."""
    assert shown.struck, "the answer ended before it could be struck"
    assert shown.end is not None, "the answer broke off without a word"
    assert shown.end.kind == "done", shown.end.data
    assert shown.seqs == [event.seq async for event in api.events(shown.end.run_id)], "not each event once and in order"
    assert shown.text.strip()
    assert await kept_text(api, conversation_id, message_id) == shown.text == shown.end.data["text"]
