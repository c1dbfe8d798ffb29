"""What the writer does not take while it can't be served: new things on a disk that is nearly full, new work while the instance stops.
What ends something, or frees room, is always taken."""

from collections.abc import Callable, Sequence

from perenne.errors import PerenneError, StorageFailed, Unavailable
from perenne.messages import commands as c
from perenne.messages.commands import Command, Outcome

STOPPING_S = 10.0  # who was refused at a stop may ask again after this

# From users and from our own actors: what makes the database larger by more than a line.
GROWING: frozenset[type[Command]] = frozenset(
    {
        c.CreateProject,
        c.AddDocument,
        c.AddJsonLines,
        c.LinkDocument,
        c.AddWatch,
        c.StoreDocuments,
        c.CreateConversation,
        c.PostMessage,
        c.RegenerateReply,
    }
)
# What begins work that a stop would cut. A document that is parsed already is stored.
BEGINNING: frozenset[type[Command]] = (GROWING - {c.StoreDocuments}) | {c.LeaseJobs, c.RetryJob}


class Refusal:
    """`shortage` says why the disk takes nothing new, or None."""

    def __init__(self, shortage: Callable[[], str | None]) -> None:
        self._shortage = shortage
        self.stopping = False

    def errors(self, commands: Sequence[Command]) -> dict[int, PerenneError]:
        """By their place, those that are refused, and why. A refused command was not done: its id may come again."""
        refused: dict[int, PerenneError] = {}
        for place, command in enumerate(commands):
            kind = type(command)
            if self.stopping and kind in BEGINNING:
                refused[place] = Unavailable("Perenne", STOPPING_S, "it is stopping")
            elif kind in GROWING and (shortage := self._shortage()) is not None:
                refused[place] = StorageFailed(shortage)
        return refused


def merged(
    commands: Sequence[Command], refused: dict[int, PerenneError], taken: Sequence[Outcome], seq: int
) -> tuple[Outcome, ...]:
    """The outcomes of all commands in their order: those that were taken, and the errors of those that were not."""
    rest = iter(taken)
    return tuple(
        Outcome(command_id=command.command_id, error=refused[place], seq=seq) if place in refused else next(rest)
        for place, command in enumerate(commands)
    )
