"""One try at one run: claimed, answered, closed, whatever happens on the way."""

import asyncio
import logging

from actors.runs import replies
from actors.runs.answer import Answered, Answering, Tools
from actors.runs.journal import Journal, data_of
from actors.runs.live import Feeds
from actors.runs.model import ModelAway
from actors.runs.past import Past, past_of
from actors.runs.talk import asked_of
from perenne.errors import Busy, Conflict, DeadlineExceeded, LeaseLost, NotFound, PerenneError, StorageFailed, Unavailable
from perenne.messages.commands import CloseRun, StartAttempt
from perenne.messages.event_batch import NewEvent
from perenne.messages.records import Run, RunEvent, RunState
from perenne.store import Store

log = logging.getLogger(__name__)

_PAGE = 1_000
_TRY_LATER = (Unavailable, Busy, DeadlineExceeded, StorageFailed)  # the store's troubles: the run stays open


class RunAttempt:
    """See `Attempt`. `number` tells this host's tries at one run apart."""

    def __init__(self, tools: Tools, feeds: Feeds, run: Run, host: str, number: int) -> None:
        self._tools, self._feeds, self._run, self._host, self._number = tools, feeds, run, host, number
        self._stopping = run.stop_requested
        self._journal: Journal | None = None
        self._answering: Answering | None = None
        self._past = Past()

    def stop(self) -> None:
        """What is there so far becomes the answer."""
        self._stopping = True

    async def work(self) -> None:
        """Claim the run and answer it. A run that is another's or closed is left alone without a word."""
        try:
            await self._claim()
            try:
                if self._stopping:
                    await self._stopped()
                else:
                    await self._answer()
            except asyncio.CancelledError:
                if not self._stopping:
                    raise
                await self._stopped()
        except (LeaseLost, Conflict) as error:
            log.info("run %s is not this host's to end: %s", self._run.id, error)
        except _TRY_LATER as error:
            log.warning("run %s is left open: %s", self._run.id, error)
        finally:
            self._feeds.close(self._run.id)

    async def _claim(self) -> None:
        run = self._run
        started: Run = await self._tools.store.write(
            StartAttempt(
                command_id=f"{run.id}:{self._host}:start:{self._number}", user_id=run.user_id, run_id=run.id, host=self._host
            )
        )
        if started.events:
            self._past = past_of(await stored_events(self._tools.store, started))
        feed = self._feeds.open(run.id, run.user_id, started.events)
        self._journal = Journal(self._tools.store, started, self._host, feed, self._tools.first_words)
        self._stopping = self._stopping or started.stop_requested
        self._run = started
        log.info("attempt %d begins", started.attempt)

    @property
    def _log(self) -> Journal:
        assert self._journal is not None, "claimed first"
        return self._journal

    async def _answer(self) -> None:
        if self._run.events and self._run.attempt > 1:
            await self._log.note("status", stage="resumed", detail="the host of this answer was restarted")
        try:
            asked = await asked_of(self._tools.store, self._run)
            self._answering = Answering(self._tools, self._log, asked, self._past)
            answered = await self._answering.answer()
        except ModelAway as error:
            language, searched = (
                self._answering.language if self._answering else None,
                bool(self._answering and self._answering.searched),
            )
            await self._failed(error.code, replies.model_away(language, error.state, searched))
            return
        except (LeaseLost, Conflict, *_TRY_LATER):
            raise
        except NotFound as error:
            await self._failed(error.code, str(error))
            return
        except PerenneError as error:
            log.warning("run %s failed: %s", self._run.id, error)
            await self._failed(error.code, str(error))
            return
        except Exception as error:
            log.exception("run %s failed", self._run.id)
            await self._failed("error", f"answering failed: {type(error).__name__}")
            return
        await self._done("done", answered)

    async def _done(self, state: RunState, answered: Answered, reason: str | None = None) -> None:
        self._log.reached("whole")
        done = NewEvent(
            kind="done",
            data={
                "state": state,
                "finish_reason": answered.finish_reason,
                "message_id": self._run.message_id,
                "text": answered.text,
                "usage": None if answered.usage is None else data_of(answered.usage),
                "citations": [data_of(citation) for citation in answered.citations],
                "grounded": answered.grounded,
                "seconds": self._log.seconds,
            },
        )
        close = CloseRun(state=state, text=answered.text, citations=answered.citations, usage=answered.usage, reason=reason)
        await self._log.close(close, done)
        log.info("the answer is %s, after %s", state, _stages(self._log.seconds))

    async def _stopped(self) -> None:
        """The words that wait to be committed are part of the text: readers get them with the end."""
        written = self._answering.writer.written if self._answering else None
        text = (written.text if written else "") or self._past.text
        answered = Answered(text, finish_reason="cancelled", usage=written.usage if written else None)
        await self._done("stopped", answered, "stopped by its owner")

    async def _failed(self, code: str, message: str) -> None:
        text = self._answering.writer.written.text if self._answering else self._past.text
        self._log.reached("whole")
        error = NewEvent(kind="error", data={"code": code, "message": message, "seconds": self._log.seconds})
        await self._log.close(CloseRun(state="failed", text=text, reason=message), error)
        log.warning("there is no answer (%s), after %s", code, _stages(self._log.seconds))


def _stages(seconds: dict[str, float]) -> str:
    return ", ".join(f"{stage} {until:.3f} s" for stage, until in seconds.items())


async def stored_events(store: Store, run: Run) -> list[RunEvent]:
    """All events of a run so far."""
    found: list[RunEvent] = []
    while len(found) < run.events:
        after = found[-1].seq if found else 0
        page: tuple[RunEvent, ...] = await store.read("run_events", user_id=None, run_id=run.id, after=after, limit=_PAGE)
        if not page:
            break
        found.extend(page)
    return found
