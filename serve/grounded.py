"""A `/v1` chat that is answered from documents, by a durable run that ends when its reader leaves."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from perenne.api import decode
from perenne.errors import EngineFailed, InvalidRequest, PerenneError, Unauthorized
from perenne.following import follow_run
from perenne.messages.commands import MessagePosted, StopRun
from perenne.messages.records import Citation, RunEvent, RunOptions, Usage
from serve.answers import json_answer
from serve.asking import Asking
from serve.conversations import post_question
from serve.live import EventStream, while_welcome
from serve.openai_bodies import ChatBody
from serve.openai_wire import END, GRACE_S, Completion, annotation, error_piece, finish_reason_of

BEGAN_AGAIN = "\n\n[the answer began again]\n\n"


class Telling:
    """What a stream that cannot take words back says of a run that began again: nothing while the new attempt repeats what
    was said, else that it began again, and then the new words."""

    def __init__(self) -> None:
        self._said = ""
        self._anew: str | None = None  # the new attempt so far, while it repeats

    def restart(self) -> None:
        """The run begins again."""
        self._anew = "" if self._said else None

    def tell(self, text: str) -> str:
        """What to say now that the run said `text`."""
        if self._anew is None:
            self._said += text
            return text
        self._anew += text
        if self._said.startswith(self._anew) and self._said != self._anew:
            return ""
        anew, self._anew = self._anew, None
        if anew.startswith(self._said):
            news, self._said = anew[len(self._said) :], anew
            return news
        self._said = anew
        return BEGAN_AGAIN + anew


@dataclass(slots=True)
class Ending:
    """What a run came to."""

    text: str
    finish_reason: str | None
    usage: Usage | None
    citations: tuple[Citation, ...]
    sources: list[Any] = field(default_factory=list[Any])


def options_of(body: ChatBody) -> tuple[str, RunOptions]:
    """The question, and how to answer it: the caller's own history stands for the conversation's."""
    said = [message.said() for message in body.messages]
    role, question = said[-1]
    if role != "user" or not question.strip():
        raise InvalidRequest("messages: expected the last one to be a question of the user's", "messages")
    return question, RunOptions(
        temperature=body.temperature,
        top_p=body.top_p,
        max_tokens=body.limit(),
        seed=body.seed_of(),
        stop=body.stops(),
        history=tuple(said[:-1]),
    )


async def grounded_answer(ask: Asking, body: ChatBody, project: str | None, request: Request) -> Response:
    """Question and run are on disk before the first byte."""
    ask.caller.need("write")
    question, options = options_of(body)
    posted = await post_question(ask, ask.id("cnv"), question, project, options)
    completion = Completion(body.model)
    events = follow_run(ask.edge.directory, ask.edge.store, ask.user_id, posted.run.id, heartbeats=True)

    def leave() -> None:
        ask.edge.errand(stop_left(ask, posted))

    if body.stream:
        pieces = _pieces(completion, events, body.with_usage())
        return EventStream(pieces, ask.edge.closing, ask.key_ended, error_piece, on_leave=leave, grace_s=GRACE_S)
    ended = False
    try:
        ending = await while_welcome(request, ask.key_ended, ending_of(events))
        ended = True
    except Unauthorized:  # nobody may read it any more
        raise
    except PerenneError:
        ended = True
        raise
    finally:
        if not ended:
            leave()
    annotations = [annotation(citation) for citation in ending.citations]
    return json_answer(
        completion.whole(
            ending.text, ending.finish_reason, ending.usage, annotations, run_id=posted.run.id, sources=ending.sources
        )
    )


async def stop_left(ask: Asking, posted: MessagePosted) -> None:
    """Stop a run whose reader left."""
    run_id = posted.run.id
    await ask.store.write(StopRun(command_id=f"{ask.command_id}:left", user_id=ask.user_id, run_id=run_id))
    ask.edge.stop_run(run_id)


def done_of(event: RunEvent, sources: list[Any]) -> Ending:
    """What the last event of a run says."""
    data = event.data
    usage = data.get("usage")
    return Ending(
        text=data.get("text", ""),
        finish_reason=data.get("finish_reason"),
        usage=decode(Usage, usage) if isinstance(usage, dict) else usage,
        citations=decode(tuple[Citation, ...], list(data.get("citations") or ())),
        sources=sources,
    )


def failure_of(event: RunEvent) -> EngineFailed:
    """What a run failed of."""
    return EngineFailed("run", str(event.data.get("message", "the run failed")))


async def ending_of(events: AsyncIterator[RunEvent]) -> Ending:
    """What a run comes to; EngineFailed when it fails."""
    sources: list[Any] = []
    async for event in events:
        if event.kind == "sources":
            sources = list(event.data.get("hits") or ())
        elif event.kind == "error":
            raise failure_of(event)
        elif event.kind == "done":
            return done_of(event, sources)
    raise EngineFailed("run", "it ended without a word")


async def _pieces(completion: Completion, events: AsyncIterator[RunEvent], include_usage: bool) -> AsyncIterator[bytes]:
    telling = Telling()
    yield completion.piece({"role": "assistant", "content": ""})
    try:
        async for event in events:
            if event.kind == "heartbeat":
                yield b": alive\n\n"
            elif event.kind == "sources":
                yield completion.piece({}, sources=event.data.get("hits"))
            elif event.kind == "restarted":
                telling.restart()
            elif event.kind == "delta":
                if news := telling.tell(str(event.data.get("text", ""))):
                    yield completion.piece({"content": news})
            elif event.kind == "error":
                raise failure_of(event)
            elif event.kind == "done":
                ending = done_of(event, [])
                if ending.citations:
                    yield completion.piece({"annotations": [annotation(citation) for citation in ending.citations]})
                yield completion.piece({}, finish_reason_of(ending.finish_reason))
                if include_usage:
                    yield completion.usage_piece(ending.usage)
                yield END
                return
    except PerenneError as error:
        yield error_piece(error)
