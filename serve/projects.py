"""Routes of projects."""

from starlette.responses import Response

from perenne.messages.commands import CreateProject, DeleteProject, RenameProject
from perenne.messages.records import Page
from serve.answers import json_answer
from serve.asking import After, Limit, Reading, Writing
from serve.bodies import ProjectBody


async def list_projects(ask: Reading, limit: Limit = 100, after: After = None) -> Response:
    """Your projects."""
    if ask.caller.key.project_id is not None:
        own = await ask.caller.project(ask.store, ask.caller.key.project_id)
        return json_answer(Page(items=(own,)))
    return json_answer(await ask.store.read("projects", user_id=ask.user_id, limit=limit, after=after))


async def create_project(ask: Writing, body: ProjectBody) -> Response:
    """Make a project; 409 when you have one of that name."""
    ask.caller.need_all_projects()
    command = CreateProject(command_id=ask.command_id, user_id=ask.user_id, project_id=ask.id("prj"), name=body.name)
    return json_answer(await ask.store.write(command), 201)


async def get_project(ask: Reading, project: str) -> Response:
    """One project, by id or name."""
    return json_answer(await ask.caller.project(ask.store, project))


async def rename_project(ask: Writing, project: str, body: ProjectBody) -> Response:
    """Rename a project."""
    found = await ask.caller.project(ask.store, project)
    command = RenameProject(command_id=ask.command_id, user_id=ask.user_id, project_id=found.id, name=body.name)
    return json_answer(await ask.store.write(command))


async def delete_project(ask: Writing, project: str) -> Response:
    """Delete a project, and its documents that are in no other. By id, the same request may be sent again."""
    ask.caller.need_all_projects()
    project_id = project
    if not project.startswith("prj_"):
        project_id = (await ask.caller.project(ask.store, project)).id
    command = DeleteProject(command_id=ask.command_id, user_id=ask.user_id, project_id=project_id)
    return json_answer(await ask.store.write(command))
