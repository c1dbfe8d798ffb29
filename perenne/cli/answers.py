"""`perenne ask` and `search`."""

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from perenne.cli.console import Json, ProjectName, connected, emit, notes, run, say
from perenne.messages.records import RunEvent
from perenne.messages.search import Filters

if TYPE_CHECKING:
    from perenne.api import Answer, Perenne


class Telling:
    """Prints an answer: as it comes on a terminal, whole at its end into a pipe."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._live, self._begun = quiet, sys.stdout.isatty(), False

    def see(self, event: RunEvent) -> None:
        if self._quiet:
            return
        if event.kind == "sources":
            notes.print(f"[dim]{len(event.data.get('hits', []))} passages found[/dim]")
        elif event.kind == "delta" and self._live:
            self._begun = True
            say(str(event.data.get("text", "")), end="")
        elif event.kind == "restarted" and self._live:
            if self._begun:
                say()
            withdrawn = event.data.get("cause") == "withdrawn"
            words = "taken back: no passage holds it" if withdrawn else "it was interrupted and begins again"
            notes.print(f"[yellow]{words}[/yellow]")
        elif event.kind == "status" and not self._begun and event.data.get("detail"):
            notes.print(f"[dim]{event.data['detail']}[/dim]")

    def end(self, answer: "Answer") -> None:
        say("" if self._live else answer.text)
        for citation in answer.citations:
            page = f", page {citation.page}" if citation.page else ""
            notes.print(f"[dim]\\[{citation.number}] {citation.title}{page}: “{citation.quote.strip()[:160]}”[/dim]")


async def _ask(client: "Perenne", question: str, project: str | None, conversation: str | None, as_json: bool) -> None:
    telling = Telling(quiet=as_json)
    answer = await client.ask(question, project, conversation_id=conversation, on_event=telling.see)
    if not as_json:
        telling.end(answer)
        return
    emit(
        {
            "answer": answer.text,
            "citations": [dataclasses.asdict(citation) for citation in answer.citations],
            "sources": [dataclasses.asdict(hit) for hit in answer.sources],
            "conversation_id": answer.conversation_id,
            "message_id": answer.message_id,
            "run_id": answer.run_id,
            "state": answer.state,
            "grounded": answer.grounded,
            "usage": dataclasses.asdict(answer.usage) if answer.usage else None,
        }
    )


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    project: ProjectName = None,
    conversation: Annotated[str | None, typer.Option(help="Go on in this conversation.")] = None,
    as_json: Json = False,
) -> None:
    """Ask your documents; the answer cites the passages that it rests on."""

    async def work() -> None:
        async with connected() as client:
            await _ask(client, question, project, conversation, as_json)

    run(work())


def search(
    query: Annotated[str, typer.Argument(help="Words or a question.")],
    project: ProjectName = None,
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 10,
    document: Annotated[list[str] | None, typer.Option(help="Only in these documents.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only in these languages (en, es, …).")] = None,
    as_json: Json = False,
) -> None:
    """Find passages without asking the model."""

    async def work() -> None:
        filters = Filters(document_ids=tuple(document or ()), languages=tuple(language or ()))
        async with connected() as client:
            found = await client.search(query, project, k=k, filters=filters)
        if as_json:
            emit(found)
            return
        for hit in found.hits:
            page = f", page {hit.page}" if hit.page else ""
            say(f"{hit.score:.2f}  {hit.title}{page}\n      {' '.join(hit.text.split())[:200]}")
        if found.degraded:
            notes.print(f"[yellow]{found.degraded}[/yellow]")
        if not found.hits:
            notes.print("nothing found")

    run(work())
