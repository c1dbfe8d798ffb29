"""`perenne watch`: folders whose files are kept as documents."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from perenne.cli.console import Json, connected, emit, run, say
from perenne.messages.records import WatchState

app = typer.Typer(no_args_is_help=True, help="Folders whose files are kept as documents (needs a key with the scope admin).")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="A folder of the PC that Perenne runs on.")],
    project: Annotated[str, typer.Option("--project", "-p", help="Name or id; made when there is none.")] = "default",
    ignore: Annotated[
        list[str] | None, typer.Option(help="Names or paths within to leave alone, as *.bak; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Watch a folder: new files are added, changed ones read again, and those that are deleted leave."""

    async def work() -> None:
        async with connected() as client:
            found = await client.ensure_project(project)
            watch = await client.add_watch(str(folder.expanduser().absolute()), found.id, ignore=tuple(ignore or ()))
        emit(asdict(watch)) if as_json else say(f"{watch.id}  {watch.path}")

    run(work())


@app.command("list")
def list_(as_json: Json = False) -> None:
    """The folders that are watched, and how it stands with each."""

    async def work() -> None:
        async with connected() as client:
            for state in await client.watches():
                emit(asdict(state)) if as_json else say(_line(state))

    run(work())


def _line(state: WatchState) -> str:
    skipped = f", {state.skipped:,} skipped" if state.skipped else ""
    reason = f"  ({state.reason})" if state.reason else ""
    return f"{state.watch.id}  {state.phase:8} {state.files:,} files{skipped}  {state.watch.path}{reason}"


@app.command()
def remove(watch_id: Annotated[str, typer.Argument(help="As `perenne watch list` shows it.")], as_json: Json = False) -> None:
    """Watch a folder no more; its documents stay."""

    async def work() -> None:
        async with connected() as client:
            await client.remove_watch(watch_id)
        emit({"id": watch_id, "removed": True}) if as_json else say(f"{watch_id} is watched no more")

    run(work())
