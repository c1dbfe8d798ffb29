"""The `perenne` command. Its client half is here; `up`, `down`, `status`, … come from the server by entry points."""

import functools
import importlib
import sys
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup

from perenne.cli.troubles import Exit, tell
from perenne.errors import PerenneError

GROUP = "perenne.commands"  # entry points: a function is a command, a Typer a group of commands
_OWN = {
    "ask": "answers:ask",
    "chat": "talking:chat",
    "search": "answers:search",
    "add": "documents:add",
    "projects": "projects:app",
    "jobs": "jobs:app",
    "keys": "keys:app",
    "watch": "watches:app",
}


@functools.cache
def _servers() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda found: found.name)}


def _server_command(entry: EntryPoint | None) -> Any:
    """What the entry point names; None in a client-only install, where the server's folders are not there."""
    try:
        return None if entry is None else entry.load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("cluster", "actors", "serve"):
            raise
        return None


class Commands(TyperGroup):
    """Loads a command when it is named: a press of Tab and a short command pay for no other's imports."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_OWN, *(name for name, entry in _servers().items() if find_spec(entry.module.partition(".")[0]))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _OWN:
            module, _, attribute = _OWN[cmd_name].partition(":")
            loaded: Any = getattr(importlib.import_module(f"perenne.cli.{module}"), attribute)
        else:
            loaded = _server_command(_servers().get(cmd_name))
        if loaded is None:
            return None
        if not isinstance(loaded, typer.Typer):
            only = typer.Typer(add_completion=False)
            only.command(cmd_name)(loaded)
            loaded = only
        else:
            loaded._add_completion = False  # pyright: ignore[reportPrivateUsage] - the root's own options, not the group's
        command = typer.main.get_command(loaded)
        command.name = cmd_name
        return command


def build() -> typer.Typer:
    """The whole command: the client's own, and the server's where it is installed."""
    app = typer.Typer(name="perenne", cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)

    @app.callback()
    def perenne() -> None:  # pyright: ignore[reportUnusedFunction]
        """Ask your own documents."""

    return app


def main() -> None:
    """Run the command. What goes wrong is told by `troubles`, which also says how it ends."""
    from typer.exceptions import TyperException

    try:
        ended = build()(standalone_mode=False)
    except (PerenneError, TyperException, OSError) as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer has shown the help already
            sys.exit(Exit.TYPED)
        sys.exit(tell(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(Exit.INTERRUPTED)
    sys.exit(ended if isinstance(ended, int) else Exit.DONE)
