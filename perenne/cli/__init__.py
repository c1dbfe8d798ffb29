"""The `perenne` command. Its client half is here; `up`, `down`, `status`, … come from the server by entry points."""

import logging
import sys
from importlib.metadata import entry_points

import typer

from perenne.cli import answers, documents, jobs, keys, projects, watches
from perenne.cli.troubles import Exit, tell
from perenne.errors import PerenneError

GROUP = "perenne.commands"  # entry points: a function is a command, a Typer a group of commands

log = logging.getLogger(__name__)


def build() -> typer.Typer:
    """The whole command: the client's own, and the server's where it is installed."""
    app = typer.Typer(name="perenne", help="Ask your own documents.", no_args_is_help=True, pretty_exceptions_enable=False)
    app.command("ask")(answers.ask)
    app.command("chat")(answers.chat)
    app.command("search")(answers.search)
    app.command("add")(documents.add)
    app.add_typer(projects.app, name="projects")
    app.add_typer(jobs.app, name="jobs")
    app.add_typer(keys.app, name="keys")
    app.add_typer(watches.app, name="watch")
    for entry in sorted(entry_points(group=GROUP), key=lambda found: found.name):
        try:
            loaded = entry.load()
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("cluster", "actors", "serve"):
                raise
            continue  # a client-only install: the server's folders are not there
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=entry.name)
        else:
            app.command(entry.name)(loaded)
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
