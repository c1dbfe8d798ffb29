"""Lines of the log about runs, where they become durable: one can be followed from its request to its end."""

import logging
from collections.abc import Sequence

from perenne.messages.commands import AppendRunEvents, Command, Outcome, PostMessage, RegenerateReply, StartAttempt, StopRun

log = logging.getLogger(__name__)


def say_runs(commands: Sequence[Command], outcomes: Sequence[Outcome]) -> None:
    """A line each for what begins, stops and ends runs; none for the words of an answer, which come many times a second."""
    for command, outcome in zip(commands, outcomes, strict=True):
        if isinstance(command, AppendRunEvents):
            if command.close is None:
                continue
            what = f"the end of a run ({command.close.state})"
        elif isinstance(command, PostMessage | RegenerateReply):
            what = "a question with its run"
        elif isinstance(command, StartAttempt | StopRun):
            what = "an attempt" if isinstance(command, StartAttempt) else "a stop"
        else:
            continue
        end = "is on disk" if outcome.error is None else f"was refused: {type(outcome.error).__name__}"
        log.info("%s %s", what, end, extra={"run_id": command.run_id})
