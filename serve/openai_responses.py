"""`/v1/responses`: from documents for `perenne`, kept in our conversations, else the bare model, of which nothing is stored."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from perenne.errors import Conflict, InvalidRequest, NotFound, PerenneError, Unauthorized
from perenne.following import follow_run
from perenne.ids import new_id
from perenne.messages.commands import DeleteConversation, StopRun
from perenne.messages.models import GenerateChunk, GenerateRequest
from perenne.messages.records import Message, Page, Role, Run, RunEvent, RunOptions
from serve import grounded
from serve.answers import json_answer
from serve.asking import Asking, Reading, Writing
from serve.conversations import post_question
from serve.live import EventStream, while_welcome
from serve.openai_chat import GROUNDED, project_of
from serve.openai_generating import chunks_from, collected, first_of, generated, need_language
from serve.openai_lists import AfterId, Order, every, listed
from serve.openai_response_bodies import ResponseBody
from serve.openai_response_wire import Head, Telling, call_item, cited, ended, message_item, usage_of
from serve.openai_wire import GRACE_S

_STATUS = {"queued": "queued", "running": "in_progress", "done": "completed", "failed": "failed", "stopped": "cancelled"}


def response_id(run_id: str) -> str:
    return "resp_" + run_id.removeprefix("run_")


def run_id_of(id: str) -> str:
    """The run behind a response. NotFound when the id is none of ours."""
    if not id.startswith("resp_"):
        raise NotFound("response", id)
    return "run_" + id.removeprefix("resp_")


async def _run(ask: Asking, id: str) -> Run:
    try:
        return await ask.caller.run(ask.store, run_id_of(id))
    except NotFound:
        raise NotFound("response", id) from None


async def create_response(ask: Reading, body: ResponseBody, request: Request) -> Response:
    """OpenAI's responses. `perenne` answers from your documents and keeps the answer in a conversation, which
    `previous_response_id` goes on; another model id is that model itself, and nothing is kept."""
    body.checked()
    from_documents, project = project_of(body.model)
    if from_documents:
        body.checked_for_documents()
        return await _from_documents(ask, body, project, request)
    need_language(ask.edge.settings, body.model)
    body.checked_bare()
    return await _from_model(ask, body, request)


# The bare model


async def _from_model(ask: Asking, body: ResponseBody, request: Request) -> Response:
    asked = GenerateRequest(
        request_id=new_id("gen"),
        messages=body.messages(),
        max_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        extra=body.extra(),
    )
    chunks = generated(ask, asked)
    head = Head(body.model, store=False, id=new_id("resp"), echoed=body.echoed())
    if not body.stream:
        said = await while_welcome(request, ask.key_ended, collected(chunks))
        items = [call_item(new_id("fc"), call) for call in said.calls]
        if said.text or not items:
            items.insert(0, message_item(new_id("msg"), said.text))
        return json_answer(head.body(output=items, usage=usage_of(said.usage), **ended(said.finish_reason)))
    first = await while_welcome(request, ask.key_ended, first_of(chunks))
    telling = Telling(head)
    pieces = _told_of_model(telling, chunks_from(first, chunks))
    return EventStream(pieces, ask.edge.closing, ask.key_ended, telling.failure, grace_s=GRACE_S)


async def _told_of_model(telling: Telling, chunks: AsyncGenerator[GenerateChunk]) -> AsyncIterator[bytes]:
    yield telling.begin()
    reason, usage = None, None
    try:
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                reason, usage = chunk.finish_reason or reason, chunk.usage or usage
                if chunk.text:
                    yield telling.text(chunk.text)
                for piece in chunk.tool_calls:
                    yield telling.call(piece)
    except PerenneError as error:
        yield telling.failure(error)
        return
    yield telling.end(reason, usage)


# Documents


async def _from_documents(ask: Asking, body: ResponseBody, project: str | None, request: Request) -> Response:
    """Question and run are on disk before the first byte."""
    ask.caller.need("write")
    said = body.said()
    role, question = said[-1]
    if role != "user" or not question.strip():
        raise InvalidRequest("input: expected the last item to be a question of the user's", "input")
    earlier = said[:-1]
    conversation_id, parent_id, history = ask.id("cnv"), None, None
    if body.previous_response_id is not None:
        run = await _run(ask, body.previous_response_id)
        conversation_id, parent_id = run.conversation_id, run.message_id
        if earlier or body.instructions:
            history = [*(await _said(ask, run)), *earlier]
    else:
        history = earlier
    if body.instructions:
        history = [("system", body.instructions), *(history or [])]
    options = RunOptions(
        temperature=body.temperature,
        top_p=body.top_p,
        max_tokens=body.max_output_tokens,
        history=None if history is None else tuple(history),
    )
    posted = await post_question(ask, conversation_id, question, project, options, parent_id)
    run_id = posted.run.id
    head = Head(body.model, True, response_id(run_id), int(posted.run.created_at), body.echoed())
    events = follow_run(ask.edge.directory, ask.edge.store, ask.user_id, run_id, heartbeats=True)

    def leave() -> None:
        ask.edge.errand(grounded.stop_left(ask, posted))

    if body.stream:
        telling = Telling(head)
        pieces = _told_of_documents(telling, events)
        return EventStream(pieces, ask.edge.closing, ask.key_ended, telling.failure, on_leave=leave, grace_s=GRACE_S)
    over = False
    try:
        ending = await while_welcome(request, ask.key_ended, grounded.ending_of(events))
        over = True
    except Unauthorized:  # nobody may read it any more
        raise
    except PerenneError:
        over = True
        raise
    finally:
        if not over:
            leave()
    item = message_item(posted.reply.id, ending.text, [cited(citation) for citation in ending.citations])
    return json_answer(head.body(output=[item], usage=usage_of(ending.usage), **ended(ending.finish_reason)))


async def _messages(ask: Asking, conversation_id: str, leaf_id: str | None = None) -> list[Message]:
    """Of the branch that ends with `leaf_id`, else of the one that is shown."""

    async def read(count: int, after: str | None) -> Page[Message]:
        return await ask.store.read(
            "messages", user_id=ask.user_id, conversation_id=conversation_id, limit=count, after=after, leaf_id=leaf_id
        )

    return await every(read)


async def _said(ask: Asking, run: Run) -> list[tuple[Role, str]]:
    """What was said up to a run's answer."""
    return [(message.role, message.text) for message in await _messages(ask, run.conversation_id, run.message_id)]


async def _told_of_documents(telling: Telling, events: AsyncIterator[RunEvent]) -> AsyncIterator[bytes]:
    words = grounded.Telling()
    yield telling.begin()
    try:
        async for event in events:
            if event.kind == "heartbeat":
                yield b": alive\n\n"
            elif event.kind == "restarted":
                words.restart()
            elif event.kind == "delta":
                if news := words.tell(str(event.data.get("text", ""))):
                    yield telling.text(news)
            elif event.kind == "error":
                raise grounded.failure_of(event)
            elif event.kind == "done":
                ending = grounded.done_of(event, [])
                yield telling.end(ending.finish_reason, ending.usage, ending.text, ending.citations)
                return
    except PerenneError as error:
        yield telling.failure(error)


# What is stored


async def _stored(ask: Asking, run: Run) -> dict[str, Any]:
    message = await ask.caller.message(ask.store, run.message_id)
    model = GROUNDED
    if run.project_id is not None:
        with contextlib.suppress(NotFound):
            model = f"{GROUNDED}:{(await ask.caller.project(ask.store, run.project_id)).name}"
    asked = run.options
    echoed = {"temperature": asked.temperature, "top_p": asked.top_p, "max_output_tokens": asked.max_tokens}
    if asked.history and asked.history[0][0] == "system":
        echoed["instructions"] = asked.history[0][1]
    head = Head(model, True, response_id(run.id), int(run.created_at), echoed)
    status = _STATUS[run.state]
    error = {"code": "server_error", "message": run.reason or "the run failed"} if run.state == "failed" else None
    item_status = "completed" if status == "completed" else "incomplete"
    item = message_item(message.id, message.text, [cited(citation) for citation in message.citations], item_status)
    usage = None if run.usage is None else usage_of(run.usage)
    return head.body(status, [item] if message.text else [], usage=usage, error=error)


async def get_response(ask: Reading, response: str, stream: bool = False) -> Response:
    """A stored answer, as far as it is. To follow one, see `/api/runs/{id}/events`."""
    if stream:
        run_id = (await _run(ask, response)).id
        raise InvalidRequest(f"stream: a kept answer is followed at /api/runs/{run_id}/events", "stream")
    return json_answer(await _stored(ask, await _run(ask, response)))


async def cancel_response(ask: Writing, response: str) -> Response:
    """Stop an answer; what it said so far stays."""
    run = await _run(ask, response)
    if run.state in ("queued", "running"):
        run = await ask.store.write(StopRun(command_id=ask.command_id, user_id=ask.user_id, run_id=run.id))
        ask.edge.stop_run(run.id)
    return json_answer(await _stored(ask, run))


async def delete_response(ask: Writing, response: str) -> Response:
    """Delete the conversation of an answer; a conflict while there are other answers in it."""
    run = await _run(ask, response)
    shown = await _messages(ask, run.conversation_id)
    if {id for message in shown for id in message.siblings} - {run.question_id, run.message_id}:
        raise Conflict(f"its conversation has other answers: DELETE /api/conversations/{run.conversation_id} deletes them all")
    command = DeleteConversation(command_id=ask.command_id, user_id=ask.user_id, conversation_id=run.conversation_id)
    await ask.store.write(command)
    return json_answer({"id": response, "object": "response", "deleted": True})


async def list_input_items(
    ask: Reading,
    response: str,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
    after: AfterId = None,
) -> Response:
    """What was asked: the question, and the messages that were sent before it; the last first unless `order` is `asc`."""
    run = await _run(ask, response)
    question = await ask.caller.message(ask.store, run.question_id)
    sent = [(f"{question.id}_{n}", role, text) for n, (role, text) in enumerate(run.options.history or ())]
    items = [_input_item(*one) for one in (*sent, (question.id, question.role, question.text))]
    if order == "desc":
        items.reverse()
    ids = [item["id"] for item in items]
    rest = items[ids.index(after) + 1 :] if after in ids else items
    return json_answer(listed(rest[:limit], len(rest) > limit))


def _input_item(id: str, role: str, text: str) -> dict[str, Any]:
    if role == "assistant":
        return message_item(id, text)
    part = {"type": "input_text", "text": text}
    return {"id": id, "type": "message", "role": role, "status": "completed", "content": [part]}
