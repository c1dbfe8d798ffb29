"""What was asked, and what was said before it."""

from dataclasses import dataclass

from perenne.errors import NotFound
from perenne.messages.records import Message, Page, Role, Run
from perenne.store import Store

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its history, oldest first. `again`: it was answered before and is to be answered anew."""

    question: str
    history: tuple[tuple[Role, str], ...]
    again: bool


async def asked_of(store: Store, run: Run) -> Asked:
    """Read the branch up to the run's question. NotFound when the question is gone."""
    said: list[tuple[Role, str]] = []
    after: str | None = None
    while True:
        page: Page[Message] = await store.read(
            "messages",
            user_id=run.user_id,
            conversation_id=run.conversation_id,
            limit=_PAGE,
            after=after,
            leaf_id=run.question_id,
        )
        for message in page.items:
            if message.id == run.question_id:
                history = tuple(said[-12:]) if run.options.history is None else run.options.history
                return Asked(message.text, history, again=run.created_at - message.created_at > 1.0)
            if message.text and message.state in ("done", "stopped"):
                said.append((message.role, message.text))
        after = page.next
        if after is None:
            raise NotFound("message", run.question_id)
