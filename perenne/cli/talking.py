"""`perenne chat`: questions by the line in one conversation, and the commands that go back in it."""

import contextlib
import re
import signal
import sys
from collections.abc import Generator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from perenne.cli.answers import Telling
from perenne.cli.console import ProjectName, connected, notes, run, say
from perenne.errors import Forbidden, InvalidRequest, NotFound, PerenneError, Unauthorized
from perenne.ids import new_id

if TYPE_CHECKING:
    from perenne.api import Answer, Perenne
    from perenne.messages.records import Message

_HELP = """/list           your questions so far, with their numbers
/edit N [TEXT]  ask question N in other words (without TEXT you are asked for them)
/again          have the last question answered once more
/branch         the questions and answers that there are several versions of
/branch N [V]   the versions of question N, or of its answer (N is 2a for that of question 2); with V you go on from that one
/help           this; a question that begins with / is typed with two
An empty line, Ctrl-D or Ctrl-C ends the talk. What an edit or a new answer stands beside is kept, as a branch of its own."""
_PLACE = re.compile(r"(\d{1,9})(a?)(?:\s+(\d{1,9}))?")
_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)  # `/etc/hosts` is none


def chat(project: ProjectName = None) -> None:
    """Talk: one question a line, in one conversation; /help lists what else can be typed. An empty line, Ctrl-D or Ctrl-C ends it."""

    async def work() -> None:
        notes.print("/list, /edit N, /again, /branch, /help; an empty line ends it", style="dim", markup=False)
        async with connected() as client:
            talk = Talk(client, project)
            while line := _line():
                try:
                    await talk.take(line)
                except (Unauthorized, Forbidden):
                    raise
                except PerenneError as error:  # this line's trouble; the talk goes on
                    notes.print(str(error), style="yellow", markup=False)

    run(work())


class Talk:
    """One conversation, which its first question makes, answered or not."""

    def __init__(self, client: "Perenne", project: str | None) -> None:
        self._client, self._project, self._id = client, project, new_id("cnv")

    async def take(self, line: str) -> None:
        """Do what was typed. A PerenneError is of this line alone."""
        command = _COMMAND.fullmatch(line)
        if command is None:
            await self._ask(line[1:] if line.startswith("//") else line)
            return
        name, rest = command[1], (command[2] or "").strip()
        if name == "list":
            await self._list()
        elif name == "edit":
            await self._edit(rest)
        elif name == "again":
            await self._again()
        elif name == "branch":
            await self._branches(rest)
        elif name == "help":
            notes.print(_HELP, markup=False)
        else:
            raise InvalidRequest(f"there is no command /{name}: /help lists them")

    async def _branch(self, leaf: str | None = None) -> "list[Message]":
        """The messages that are shown, in order; or those up to `leaf`."""
        found: list[Message] = []
        after: str | None = None
        while True:
            try:
                page = await self._client.messages(self._id, leaf=leaf, after=after)
            except NotFound:  # nothing was asked yet
                return []
            found += page.items
            after = page.next
            if after is None:
                return found

    async def _questions(self) -> "list[Message]":
        return [message for message in await self._branch() if message.role == "user"]

    async def _list(self) -> None:
        for number, question in enumerate(await self._questions(), 1):
            say(f"{number}  {_in_brief(question)}{_of_how_many(question)}")

    async def _ask(self, text: str, edits: str | None = None) -> None:
        telling = Telling(quiet=False)
        told = await self._client.ask(text, self._project, conversation_id=self._id, edits=edits, on_event=telling.see)
        telling.end(told)
        if edits is not None:
            await self._tell_of_branch(told)

    async def _edit(self, rest: str) -> None:
        number, _, text = rest.partition(" ")
        questions = await self._questions()
        if not number.isdecimal() or not 0 < int(number) <= len(questions):
            raise InvalidRequest(f"expected /edit and a number from 1 to {len(questions)}: /list shows your questions")
        question = questions[int(number) - 1]
        if text := text.strip() or _line(f"{number} › ", question.text):
            await self._ask(text, edits=question.id)

    async def _again(self) -> None:
        branch = await self._branch()
        if not branch:
            raise InvalidRequest("there is no answer yet to be made again")
        telling = Telling(quiet=False)
        told = await self._client.ask_again(branch[-1].id, on_event=telling.see)
        telling.end(told)
        await self._tell_of_branch(told)

    async def _places(self) -> "dict[str, Message]":
        """The messages that are shown, by what /branch calls them: 2 is the second question, 2a its answer."""
        found: dict[str, Message] = {}
        number = 0
        for message in await self._branch():
            number += message.role == "user"
            found[f"{number}{'' if message.role == 'user' else 'a'}"] = message
        return found

    async def _branches(self, rest: str) -> None:
        places = await self._places()
        if not rest:
            several = {place: message for place, message in places.items() if len(message.siblings) > 1}
            for place, message in several.items():
                say(f"{place:<3} {_in_brief(message)}{_of_how_many(message)}")
            if not several:
                notes.print("there is one version of everything: /edit and /again make others", style="dim", markup=False)
            return
        asked = _PLACE.fullmatch(rest)
        message = places.get(f"{int(asked[1])}{asked[2]}") if asked else None
        if asked is None or message is None:
            raise InvalidRequest(
                f"expected /branch and a question's number, such as 2, or 2a for its answer, got {rest!r}: /list shows your questions"
            )
        if asked[3] is None:
            for version, id in enumerate(message.siblings, 1):
                say(f"{version}  {_in_brief((await self._branch(id))[-1])}{'  (shown)' if id == message.id else ''}")
            return
        if not 0 < (version := int(asked[3])) <= len(message.siblings):
            raise InvalidRequest(
                f"expected a version from 1 to {len(message.siblings)}, got {version}: /branch {asked[1]}{asked[2]}"
            )
        await self._go_to(message.siblings[version - 1])

    async def _go_to(self, message_id: str) -> None:
        """Show this message's branch from now on, and say what stands in it from there."""
        await self._client.choose(message_id)
        reached = False
        for place, message in (await self._places()).items():
            reached = reached or message.id == message_id
            if reached:
                say(f"{place}  {message.text}" if message.role == "user" else message.text or f"({message.state})")
                if versions := _of_how_many(message):
                    notes.print(f"{_kind(message)}{versions}", style="dim", markup=False)

    async def _tell_of_branch(self, told: "Answer") -> None:
        for message in await self._branch():
            if message.id in (told.question_id, told.message_id) and (versions := _of_how_many(message)):
                notes.print(f"{_kind(message)}{versions}", style="dim", markup=False)


def _kind(message: "Message") -> str:
    return "question" if message.role == "user" else "answer"


def _in_brief(message: "Message") -> str:
    return " ".join(message.text.split())[:160] or f"({message.state})"


def _of_how_many(message: "Message") -> str:
    siblings = message.siblings
    return f"  (version {siblings.index(message.id) + 1} of {len(siblings)})" if len(siblings) > 1 else ""


def _line(prompt: str = "› ", old: str = "") -> str:
    """The next line, empty at the end; on a terminal `old` stands there to be changed. Ctrl-C ends the command here and now: asyncio's
    own handler would wait for the next await."""
    waiting = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with _written(old):
            return input(prompt).strip()
    except EOFError:
        return ""
    finally:
        signal.signal(signal.SIGINT, waiting)


@contextlib.contextmanager
def _written(text: str) -> Generator[None]:
    """While it lasts, the line that is asked for begins as this one."""
    if not text or not sys.stdin.isatty() or find_spec("readline") is None:  # not every Python has it
        yield
        return
    import readline

    readline.set_startup_hook(lambda: readline.insert_text(" ".join(text.split())))
    try:
        yield
    finally:
        readline.set_startup_hook()
