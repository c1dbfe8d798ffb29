"""Routes of backups: an operator's alone. What takes minutes is begun here, and followed by `/api/schedules`."""

import shlex

from starlette.responses import Response

from perenne import names
from perenne.errors import NotFound
from perenne.messages.backups import Backup, RestoreSteps, Schedule
from serve.answers import json_answer
from serve.asking import Asking, Reading, Writing
from serve.bodies import DrillBody

_LIST_WITHIN_S = 30.0
_BEGIN_WITHIN_S = 10.0


async def _begun(ask: Asking, what: str, backup_id: str | None = None) -> Response:
    ask.caller.need_owner()  # a backup holds what everybody has
    begun: Schedule = await ask.edge.directory.call(
        names.BACKUP_KEEPER, "begin", timeout_s=_BEGIN_WITHIN_S, what=what, backup_id=backup_id
    )
    return json_answer(begun, 202)


async def list_backups(ask: Reading) -> Response:
    """The backups that there are, the newest first."""
    ask.caller.need_owner()
    backups: tuple[Backup, ...] = await ask.edge.directory.call(names.BACKUP_KEEPER, "backups", timeout_s=_LIST_WITHIN_S)
    return json_answer(backups)


async def restore_steps(ask: Reading, backup_id: str) -> Response:
    """What to type on the server's PC to bring this home back as it was when the backup was made. No request does it: a restore takes the
    database from under the instance, and the keys of its time hold again, those that were revoked since too."""
    ask.caller.need_owner()
    backups: tuple[Backup, ...] = await ask.edge.directory.call(names.BACKUP_KEEPER, "backups", timeout_s=_LIST_WITHIN_S)
    backup = next((each for each in backups if each.id == backup_id), None)
    if backup is None:
        raise NotFound("backup", backup_id)
    commands = (
        f"export PERENNE_HOME={shlex.quote(ask.edge.settings.home)}",
        "perenne down",
        f"perenne backup restore {backup.id}",
        "perenne up",
    )
    note = (
        "Over a home that holds documents the restore wants --force; SQLite's old database is then kept beside the new one. If the PC goes "
        "down on the way, the home is as it was, or whole and new."
    )
    return json_answer(RestoreSteps(backup=backup, commands=commands, note=note))


async def create_backup(ask: Writing) -> Response:
    """Begin a backup; it is verified once it is written. Busy while another, or a drill, is under way."""
    return await _begun(ask, "backup")


async def verify_backup(ask: Writing, backup_id: str) -> Response:
    """Begin to read every piece of a backup and compare it with its hash."""
    return await _begun(ask, "verify", backup_id)


async def drill_backup(ask: Writing, body: DrillBody) -> Response:
    """Begin a drill: a backup, the newest without an id, is restored into a scratch folder and compared with what was recorded of it."""
    return await _begun(ask, "drill", body.backup_id)


async def list_schedules(ask: Reading) -> Response:
    """What is done by the clock: when next, whether it is under way, how it ended last."""
    ask.caller.need_owner()
    schedules: tuple[Schedule, ...] = await ask.edge.directory.call(names.BACKUP_KEEPER, "schedules", timeout_s=_BEGIN_WITHIN_S)
    return json_answer(schedules)
