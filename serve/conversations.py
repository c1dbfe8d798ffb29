"""Routes of conversations and messages."""

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from perenne.errors import NotFound
from perenne.messages.commands import (
    ChooseBranch,
    CreateConversation,
    DeleteConversation,
    MessagePosted,
    PostMessage,
    RegenerateReply,
    RenameConversation,
)
from perenne.messages.records import RunOptions
from serve.answers import json_answer
from serve.asking import After, Asking, Limit, ProjectQuery, Reading, Writing
from serve.bodies import ConversationBody, MessageBody, RegenerateBody, TitleBody

Leaf = Annotated[
    str | None, Query(description="The last message of the branch; left out: the one that is shown.", max_length=300)
]


async def list_conversations(ask: Reading, project: ProjectQuery = None, limit: Limit = 50, after: After = None) -> Response:
    """Conversations, the latest first."""
    project_id = await ask.caller.project_id(ask.store, project)
    return json_answer(
        await ask.store.read("conversations", user_id=ask.user_id, project_id=project_id, limit=limit, after=after)
    )


async def create_conversation(ask: Writing, body: ConversationBody) -> Response:
    """Begin a conversation. Posting a message to an id of your own does so too."""
    project_id = await ask.caller.project_id(ask.store, body.project)
    command = CreateConversation(
        command_id=ask.command_id,
        user_id=ask.user_id,
        conversation_id=ask.id("cnv"),
        project_id=project_id,
        title=body.title,
    )
    return json_answer(await ask.store.write(command), 201)


async def get_conversation(ask: Reading, conversation_id: str) -> Response:
    """One conversation."""
    return json_answer(await ask.caller.conversation(ask.store, conversation_id))


async def rename_conversation(ask: Writing, conversation_id: str, body: TitleBody) -> Response:
    """Give a conversation another title."""
    await _within(ask, conversation_id)
    command = RenameConversation(
        command_id=ask.command_id, user_id=ask.user_id, conversation_id=conversation_id, title=body.title
    )
    return json_answer(await ask.store.write(command))


async def delete_conversation(ask: Writing, conversation_id: str) -> Response:
    """Delete a conversation with its messages and runs."""
    await _within(ask, conversation_id)
    command = DeleteConversation(command_id=ask.command_id, user_id=ask.user_id, conversation_id=conversation_id)
    return json_answer(await ask.store.write(command))


async def list_messages(
    ask: Reading, conversation_id: str, leaf: Leaf = None, limit: Limit = 200, after: After = None
) -> Response:
    """The messages of one branch of a conversation, oldest first. `siblings` of each says which others follow the same message."""
    await ask.caller.conversation(ask.store, conversation_id)
    page = await ask.store.read(
        "messages", user_id=ask.user_id, conversation_id=conversation_id, limit=limit, after=after, leaf_id=leaf
    )
    return json_answer(page)


async def choose_branch(ask: Writing, message_id: str) -> Response:
    """Show the branch of this message from now on, with the newest of what follows it."""
    if ask.caller.key.project_id is not None:
        await ask.caller.message(ask.store, message_id)
    command = ChooseBranch(command_id=ask.command_id, user_id=ask.user_id, message_id=message_id)
    return json_answer(await ask.store.write(command))


async def _within(ask: Asking, conversation_id: str) -> None:
    if ask.caller.key.project_id is not None:
        await ask.caller.conversation(ask.store, conversation_id)


async def post_question(
    ask: Asking,
    conversation_id: str,
    text: str,
    project: str | None,
    options: RunOptions,
    parent_id: str | None = None,
    edits: str | None = None,
) -> MessagePosted:
    """Question and run, on disk once this returns; the run host is told."""
    project_id = await ask.caller.project_id(ask.store, project)
    if ask.caller.key.project_id is not None:
        try:
            await ask.caller.conversation(ask.store, conversation_id)
        except NotFound:  # it is made by this message, or another project's: then it is not this key's to write to
            await _must_be_new(ask, conversation_id)
    command = PostMessage(
        command_id=ask.command_id,
        user_id=ask.user_id,
        conversation_id=conversation_id,
        message_id=ask.id("msg"),
        reply_id=ask.id("rpl"),
        run_id=ask.id("run"),
        text=text,
        project_id=project_id,
        parent_id=parent_id,
        edits=edits,
        options=options,
    )
    posted: MessagePosted = await ask.store.write(command)
    ask.edge.start_run(posted.run.id)
    return posted


async def _must_be_new(ask: Asking, conversation_id: str) -> None:
    try:
        await ask.store.read("conversation", user_id=ask.user_id, conversation_id=conversation_id)
    except NotFound:
        return
    raise NotFound("conversation", conversation_id)


async def post_message(ask: Writing, conversation_id: str, body: MessageBody) -> Response:
    """Ask. Once answered, question and run are on disk and the answer will come: follow `/api/runs/{id}/events`. While an answer
    before it is being written, the run waits, and says so: `status` with the stage `queued`. With `edits` the conversation gets
    a branch; the old one stays whole."""
    options = RunOptions() if body.options is None else body.options.options()
    posted = await post_question(ask, conversation_id, body.text, body.project, options, body.parent, body.edits)
    return json_answer(posted, 202)


async def regenerate(ask: Writing, message_id: str, body: RegenerateBody | None = None) -> Response:
    """A new answer to the question behind a message, beside those that there are."""
    options = RunOptions() if body is None or body.options is None else body.options.options()
    if ask.caller.key.project_id is not None:
        await ask.caller.message(ask.store, message_id)
    command = RegenerateReply(
        command_id=ask.command_id,
        user_id=ask.user_id,
        message_id=message_id,
        reply_id=ask.id("rpl"),
        run_id=ask.id("run"),
        options=options,
    )
    posted: MessagePosted = await ask.store.write(command)
    ask.edge.start_run(posted.run.id)
    return json_answer(posted, 202)
