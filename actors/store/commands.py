"""``perenne database``: an instance's rows moved to another database; a loss accepted."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from actors.store.acknowledged import accept_loss
from actors.store.database import sqlite_path
from actors.store.move import move
from perenne.cli.console import emit
from perenne.cli.troubles import tell
from perenne.errors import ConfigurationError, PerenneError
from perenne.settings import load_settings

app = typer.Typer(help="The database: its rows moved from SQLite to PostgreSQL, a loss accepted.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")]
_NEXT = """Moved. From now on name the new database, then start:
    export PERENNE_DATABASE_URL=postgresql://…     # or store: {url: …} in config.yaml
    perenne up
SQLite's file was not changed. To go back to what it holds, without what comes later: perenne down, unset PERENNE_DATABASE_URL, perenne up"""


@app.callback()
def _database() -> None: ...


@app.command("move")
def move_rows(
    to: Annotated[
        str, typer.Option("--to", help="An empty database: postgresql://USER:PASSWORD@HOST/DATABASE.", envvar="PERENNE_MOVE_TO")
    ],
    as_json: Json = False,
) -> None:
    """Copy all rows from SQLite to an empty PostgreSQL database, all or nothing. The instance must be down."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        settings = load_settings()
        with Progress(*columns, console=Console(stderr=True), disable=as_json) as progress:
            tasks: dict[str, Any] = {}

            def told(table: str, done: int, total: int) -> None:
                if as_json:
                    emit({"table": table, "rows": done, "of": total})
                    return
                if table not in tasks:
                    tasks[table] = progress.add_task(table, total=total)
                progress.update(tasks[table], completed=done)

            moved = move(settings.database_url, to, told)
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    if as_json:
        emit({"moved": moved.rows, "nuls_replaced": moved.nuls})
        return
    typer.echo(f"{sum(moved.rows.values()):,} rows of {len(moved.rows)} tables, each read back and compared.")
    if moved.nuls:
        typer.echo(f"{moved.nuls:,} texts held a NUL, which PostgreSQL cannot keep: it is U+FFFD there.")
    typer.echo(_NEXT)


@app.command("accept-loss")
def accept(as_json: Json = False) -> None:
    """Go on with a database that lost what was acknowledged: `perenne status` says so then. The instance must be down."""
    try:
        path = sqlite_path(load_settings().database_url)
        if path is None:
            raise ConfigurationError("expected an instance on SQLite: PostgreSQL looks after its own log")
        lost = accept_loss(path)
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None
    if as_json:
        emit({"accepted": lost})
    elif lost is None:
        typer.echo("Nothing that was acknowledged is missing: there is nothing to accept.")
    else:
        typer.echo(f"Accepted: {lost}. The next start (perenne up) goes on with what is there.")
