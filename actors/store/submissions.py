"""Commands on their way to the writer, and how each is answered."""

import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError

from actors.store import remembered
from actors.store.handlers import HANDLERS, PREPARERS
from actors.store.nul import NUL, without_nul
from actors.store.postgresql import first_line
from perenne import names
from perenne.errors import Conflict, InvalidRequest, NotFound, PerenneError, Unavailable
from perenne.messages.commands import Command, Outcome

log = logging.getLogger(__name__)

ID_CHARS_MAX = 500  # of a command's id and of its user's


@dataclass(slots=True)
class Item:
    """One command on its way: its hash, or why it can't have one; what was prepared for it."""

    command: Command
    body: bytes
    refused: PerenneError | None
    prepared: Any


@dataclass(slots=True)
class Submission:
    items: list[Item]
    answered: "Future[tuple[Outcome, ...]]" = field(default_factory=Future)


def item_of(command: Command) -> Item:
    """InvalidRequest for what is no command and so can't be answered by its id; all else is refused alone."""
    if not isinstance(command, Command):
        raise InvalidRequest(f"expected commands, got a {type(command).__name__}", "commands")
    try:
        _check_ids(command)
        body, nul = remembered.body_of(command)
        command = without_nul(command) if nul else command
        prepare = PREPARERS.get(type(command))
        return Item(command, body, None, None if prepare is None else prepare(command))
    except PerenneError as error:
        return Item(command, b"", error, None)
    except Exception as error:  # what it holds is not of the types that its kind says
        return Item(command, b"", InvalidRequest(f"{type(command).__name__}: {type(error).__name__}: {error}"), None)


def _check_ids(command: Command) -> None:
    if type(command) not in HANDLERS:
        raise InvalidRequest(f"{type(command).__name__} is no command of this store")
    for name, id in (("command_id", command.command_id), ("user_id", command.user_id)):
        if not isinstance(id, str) or not 0 < len(id) <= ID_CHARS_MAX or NUL in id:
            came = f"{len(id)} characters, or a NUL" if isinstance(id, str) else f"a {type(id).__name__}"
            raise InvalidRequest(f"{name}: expected 1 to {ID_CHARS_MAX} characters, got {came}", name)


def in_our_words(error: Exception, command: Command) -> PerenneError:
    """What a command that failed alone is answered."""
    if isinstance(error, PerenneError):
        return error
    kind = type(command).__name__
    if isinstance(error, IntegrityError):
        said = first_line(error)
        if "FOREIGN KEY" in said.upper():
            return NotFound("user", command.user_id)
        return Conflict(f"{kind}: an id is taken already ({said})")
    if isinstance(error, DataError):
        return InvalidRequest(f"{kind}: {first_line(error)}")
    if isinstance(error, ValueError | OverflowError | TypeError):
        return InvalidRequest(f"{kind}: {error}")
    log.error("%s failed", kind, exc_info=error)
    return PerenneError(f"{kind} failed: {type(error).__name__}: {error}")


def outcome_of(command_id: str, answer: Any, seq: int) -> Outcome:
    if isinstance(answer, PerenneError):
        return Outcome(command_id=command_id, error=answer, seq=seq)
    return Outcome(command_id=command_id, value=answer, seq=seq)


def answer_all(taken: Sequence[Submission], outcomes: Sequence[Outcome] | None, error: PerenneError | None = None) -> None:
    """Give each submission its own part of the outcomes, or the error. Who was answered, or gave up, is left out."""
    at = 0
    for submission in taken:
        own = None if outcomes is None else tuple(outcomes[at : at + len(submission.items)])
        at += len(submission.items)
        with contextlib.suppress(InvalidStateError):
            if own is None:
                submission.answered.set_exception(error or Unavailable(names.STORE_WRITER))
            else:
                submission.answered.set_result(own)
