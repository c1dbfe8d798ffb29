"""The first user, key and project. Commands with fixed ids, so that a boot cut short is finished by the next."""

import hashlib
import secrets
from pathlib import Path

from cluster.instance import write_private
from perenne.errors import Conflict
from perenne.messages.commands import Command, CreateKey, CreateProject, CreateUser
from perenne.messages.records import User
from perenne.settings import Settings
from perenne.store import Store

OWNER = "owner"
DEFAULT_PROJECT = "default"
_READY_WITHIN_S = 3_600.0  # the database may be migrating: half a minute for 100,000 passages, many times that on a busy PC


def key_path(settings: Settings) -> Path:
    return settings.path("key")


def _first_commands(secret: str) -> tuple[Command, ...]:
    key_hash = hashlib.sha256(secret.encode()).hexdigest()
    known_by = f"boot-{key_hash[:16]}"  # another key file is another first boot
    return (
        CreateUser(command_id=f"{known_by}-user", user_id="system", new_user_id=OWNER, name=OWNER),
        CreateKey(
            command_id=f"{known_by}-key",
            user_id=OWNER,
            key_id=f"key_{key_hash[:32]}",
            for_user_id=OWNER,
            key_hash=key_hash,
            label="first key",
            scopes=("read", "write", "admin"),
        ),
        CreateProject(command_id=f"{known_by}-project", user_id=OWNER, project_id=f"prj_{key_hash[32:]}", name=DEFAULT_PROJECT),
    )


async def first_boot(store: Store, settings: Settings) -> str | None:
    """Make owner, key and project if the database has no owner. Returns the key's secret when it was made now; it is on disk
    at HOME/key before the database knows it."""
    users: tuple[User, ...] = tuple(await store.read("users", deadline_s=_READY_WITHIN_S))
    path = key_path(settings)
    known = any(user.id == OWNER for user in users)
    if known and not path.exists():
        return None  # its owner took the key elsewhere
    made = not path.exists()
    secret = "pk_" + secrets.token_urlsafe(32) if made else path.read_text().strip()
    if not made and await store.read("key_by_hash", key_hash=hashlib.sha256(secret.encode()).hexdigest()) is not None:
        return None
    if made:
        write_private(path, secret + "\n")
    elif known:
        return None  # revoked and gone: a key is not brought back by its file
    for outcome in await store.submit(*_first_commands(secret), deadline_s=_READY_WITHIN_S):
        if outcome.error is not None and not isinstance(outcome.error, Conflict):
            raise outcome.error
    return secret
