"""Commands about users and keys."""

from sqlalchemy import bindparam, insert, select, update

from actors.store.projects import project_row
from actors.store.rows import encode, key_of, user_of
from actors.store.tables import keys, users
from actors.store.work import Work, owned, required
from perenne.errors import Conflict, InvalidRequest, NotFound
from perenne.messages.commands import SYSTEM_USER, CreateKey, CreateUser, RevokeKey
from perenne.messages.records import Key, User

NAME_CHARS_MAX = 200

_USER = select(users).where(users.c.id == bindparam("id_"))
_KEY = select(keys).where(keys.c.id == bindparam("id_"))
_KEY_BY_HASH = select(keys.c.id).where(keys.c.key_hash == bindparam("hash_"))
_INSERT_USER = insert(users)
_INSERT_KEY = insert(keys)
_REVOKE = update(keys).where(keys.c.id == bindparam("id_")).values(revoked_at=bindparam("at_"))
_HEX = frozenset("0123456789abcdef")


def create_user(work: Work, command: CreateUser) -> User:
    if not command.new_user_id or command.new_user_id == SYSTEM_USER:  # whose commands reach everybody's rows
        raise InvalidRequest(f"{command.new_user_id!r} cannot be a user's id", "new_user_id")
    if work.conn.execute(_USER, {"id_": command.new_user_id}).first() is not None:
        raise Conflict(f"there is a user {command.new_user_id!r} already")
    user = User(id=command.new_user_id, name=required(command.name, "name", NAME_CHARS_MAX), created_at=work.now)
    work.conn.execute(_INSERT_USER, {"id": user.id, "name": user.name, "created_at": user.created_at})
    work.change("user", user.id, "insert")
    return user_of(user)


def create_key(work: Work, command: CreateKey) -> Key:
    """A user's own; the system makes them for all."""
    if command.user_id not in (command.for_user_id, SYSTEM_USER):
        raise NotFound("user", command.for_user_id)
    if work.conn.execute(_USER, {"id_": command.for_user_id}).first() is None:
        raise NotFound("user", command.for_user_id)
    if command.project_id is not None and project_row(work.conn, command.project_id, command.for_user_id) is None:
        raise NotFound("project", command.project_id)
    if len(command.key_hash) != 64 or not _HEX.issuperset(command.key_hash):
        raise InvalidRequest("key_hash must be a SHA-256 in 64 hexadecimal digits", "key_hash")
    if not command.scopes:
        raise InvalidRequest("a key needs at least one scope", "scopes")
    if work.conn.execute(_KEY_BY_HASH, {"hash_": command.key_hash}).first() is not None:
        raise Conflict("there is a key of this secret already")
    work.conn.execute(
        _INSERT_KEY,
        {
            "id": command.key_id,
            "user_id": command.for_user_id,
            "label": command.label[:NAME_CHARS_MAX],
            "key_hash": command.key_hash,
            "scopes": encode(command.scopes),
            "project_id": command.project_id,
            "created_at": work.now,
            "expires_at": command.expires_at,
            "revoked_at": None,
        },
    )
    work.change("key", command.key_id, "insert")
    return key_of(work.conn.execute(_KEY, {"id_": command.key_id}).one())


def revoke_key(work: Work, command: RevokeKey) -> Key:
    """Revoking twice keeps the first time."""
    row = owned(work.conn.execute(_KEY, {"id_": command.key_id}).first(), command, "key", command.key_id)
    if row.revoked_at is None:
        work.conn.execute(_REVOKE, {"id_": command.key_id, "at_": work.now})
        work.change("key", command.key_id, "update")
    return key_of(work.conn.execute(_KEY, {"id_": command.key_id}).one())
