"""Routes of watched folders: the owner's alone, for they read the disk."""

from starlette.responses import Response

from perenne import names
from perenne.errors import PerenneError
from perenne.messages.commands import AddWatch, RemoveWatch
from perenne.messages.records import Page, Watch, WatchState
from serve.answers import json_answer
from serve.asking import Asking, Reading, Writing
from serve.bodies import WatchBody

_CHECK_WITHIN_S = 10.0
_STATES_WITHIN_S = 2.0


async def _states(ask: Asking, watches: tuple[Watch, ...]) -> tuple[WatchState, ...]:
    """How it stands with each; while the ingest host is away, that nobody watches now."""
    ids = tuple(watch.id for watch in watches)
    try:
        known: dict[str, WatchState] = await ask.edge.directory.call(
            names.INGEST_HOST, "watch_states", timeout_s=_STATES_WITHIN_S, watch_ids=ids
        )
        reason = None
    except PerenneError as error:
        known, reason = {}, str(error)
    return tuple(known.get(watch.id) or WatchState(watch=watch, reason=reason) for watch in watches)


async def list_watches(ask: Reading) -> Response:
    """The folders that are watched, and how it stands with each."""
    ask.caller.need_all_projects()
    watches: tuple[Watch, ...] = await ask.store.read("watches", user_id=ask.user_id)
    return json_answer(Page(items=await _states(ask, watches)))


async def add_watch(ask: Writing, body: WatchBody) -> Response:
    """Watch a folder of the PC that reads files: its files become documents of the project, and follow what happens to them."""
    ask.caller.need_all_projects()
    project = await ask.caller.project(ask.store, body.project)
    path: str = await ask.edge.directory.call(names.INGEST_HOST, "check_folder", timeout_s=_CHECK_WITHIN_S, path=body.path)
    command = AddWatch(
        command_id=ask.command_id,
        user_id=ask.user_id,
        watch_id=ask.id("wat"),
        project_id=project.id,
        path=path,
        ignore=tuple(body.ignore),
    )
    watch = await ask.store.write(command)
    ask.edge.look_at_watches()
    return json_answer(watch, 201)


async def remove_watch(ask: Writing, watch_id: str) -> Response:
    """Watch a folder no more. Its documents stay."""
    ask.caller.need_all_projects()
    gone = await ask.store.write(RemoveWatch(command_id=ask.command_id, user_id=ask.user_id, watch_id=watch_id))
    ask.edge.look_at_watches()
    return json_answer(gone)
