"""Routes of runs: state, events as server-sent events, stop."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Header, Query
from starlette.responses import Response

from perenne.errors import InvalidRequest, PerenneError
from perenne.following import follow_run
from perenne.messages.commands import StopRun
from perenne.messages.records import RunEvent
from perenne.mutants import SKIP_EVENT, mutant_of
from serve.answers import json_answer, json_bytes
from serve.asking import Reading, Writing
from serve.edge import Edge
from serve.errors import described
from serve.live import EventStream
from serve.views import HIDDEN

_SEQ_MAX = 1 << 53


async def get_run(ask: Reading, run_id: str) -> Response:
    """One run."""
    return json_answer(await ask.caller.run(ask.store, run_id))


async def run_events(
    ask: Reading,
    run_id: str,
    after: Annotated[int | None, Query(ge=0, le=_SEQ_MAX, description="Only events with a higher number.")] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", description="The same, as browsers send it.")] = None,
) -> Response:
    """A run's events as they come, each with its sequence number as id; cut off, ask again after the last one seen. A sign of
    life comes as a comment each second."""
    if after is None:
        after = _number(last_event_id) if last_event_id else 0
    await ask.caller.run(ask.store, run_id)
    return EventStream(sse(ask.edge, ask.user_id, run_id, after), ask.edge.closing, ask.key_ended, _parting)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:20]) > _SEQ_MAX:
        raise InvalidRequest("Last-Event-ID: expected a sequence number", "Last-Event-ID")
    return int(text)


def _parting(error: BaseException) -> bytes:
    """The status is out: a client is told here, and comes again after the last event that it saw."""
    return b"retry: 500\n: " + json_bytes(described(error)) + b"\n\n"


async def sse(edge: Edge, user_id: str, run_id: str, after: int) -> AsyncIterator[bytes]:
    """A run's events in the wire form of server-sent events."""
    skips = mutant_of(edge.settings) == SKIP_EVENT
    try:
        async for event in follow_run(edge.directory, edge.store, user_id, run_id, after, heartbeats=True):
            if event.kind == "heartbeat":
                yield b": alive\n\n"
            elif event.kind not in HIDDEN and not (skips and event.kind == "delta" and event.seq % 5 == 0):
                yield framed(event)
    except PerenneError as error:
        yield _parting(error)


def framed(event: RunEvent) -> bytes:
    """One event in wire form."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), json_bytes(event))


async def stop_run(ask: Writing, run_id: str) -> Response:
    """Stop a run; what it said so far stays."""
    if ask.caller.key.project_id is not None:
        await ask.caller.run(ask.store, run_id)
    run = await ask.store.write(StopRun(command_id=ask.command_id, user_id=ask.user_id, run_id=run_id))
    ask.edge.stop_run(run_id)
    return json_answer(run)
