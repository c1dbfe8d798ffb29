"""`perenne projects`."""

from typing import Annotated

import typer

from perenne.cli.completing import project_names
from perenne.cli.console import Json, connected, emit, run, say

app = typer.Typer(help="List, make, rename and delete projects.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name or id.", autocompletion=project_names)]


@app.command("list")
def list_projects(as_json: Json = False) -> None:
    """All your projects."""

    async def work() -> None:
        async with connected() as client:
            for project in await client.projects():
                if as_json:
                    emit(project)
                else:
                    say(f"{project.name:30} {project.documents:7} documents  {project.chunks:8} passages  {project.id}")

    run(work())


@app.command()
def create(name: Annotated[str, typer.Argument(help="Its name.")], as_json: Json = False) -> None:
    """Make a project."""

    async def work() -> None:
        async with connected() as client:
            project = await client.create_project(name)
        if as_json:
            emit(project)
        else:
            say(project.id)

    run(work())


@app.command()
def rename(project: Name, name: Annotated[str, typer.Argument(help="The new name.")], as_json: Json = False) -> None:
    """Rename a project."""

    async def work() -> None:
        async with connected() as client:
            renamed = await client.rename_project(project, name)
        if as_json:
            emit(renamed)

    run(work())


@app.command()
def delete(
    project: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a project and the documents that are in no other."""
    if not yes:
        typer.confirm(f"Delete {project!r} and its documents?", abort=True, err=True)

    async def work() -> None:
        async with connected() as client:
            await client.delete_project(project)
        if as_json:
            emit({"project": project, "deleted": True})

    run(work())
