"""Routes of keys."""

import base64
import hashlib
import hmac
import secrets

from starlette.responses import Response

from perenne.messages.commands import CreateKey, RevokeKey
from perenne.messages.records import Key
from serve.answers import json_answer
from serve.asking import Asking, Reading, Writing
from serve.bodies import KeyBody
from serve.keyring import hash_of
from serve.tickets import LIFE_S
from serve.views import KeyMade, Ticket


def _secret(ask: Asking, repeatable: bool) -> str:
    """A fresh secret. Under an Idempotency-Key it is derived from the caller's own, so that the same request again shows the
    same one though nobody stored it."""
    if not repeatable:
        return "pk_" + secrets.token_urlsafe(32)
    digest = hmac.new(ask.caller.secret.encode(), f"key:{ask.command_id}".encode(), hashlib.sha256).digest()
    return "pk_" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def list_keys(ask: Reading) -> Response:
    """Your keys, without their secrets; a key of one project sees those of that project."""
    keys: tuple[Key, ...] = await ask.store.read("keys", user_id=ask.user_id)
    own = ask.caller.key.project_id
    return json_answer(tuple(key for key in keys if own in (None, key.project_id)))


async def create_key(ask: Writing, body: KeyBody) -> Response:
    """Make a key. Its secret is shown this once."""
    ask.caller.need_all_projects()
    project_id = await ask.caller.project_id(ask.store, body.project)
    secret = _secret(ask, ask.repeatable)
    command = CreateKey(
        command_id=ask.command_id,
        user_id=ask.user_id,
        key_id=ask.id("key"),
        for_user_id=ask.user_id,
        key_hash=hash_of(secret),
        label=body.label,
        scopes=tuple(dict.fromkeys(body.scopes)),
        project_id=project_id,
        expires_at=None if body.days is None else ask.born_at + body.days * 86_400,
    )
    key = await ask.store.write(command)
    return json_answer(KeyMade(key=key, secret=secret), 201)


async def revoke_key(ask: Writing, key_id: str) -> Response:
    """Revoke a key; it is out within a second everywhere."""
    ask.caller.need_all_projects()
    key = await ask.store.write(RevokeKey(command_id=ask.command_id, user_id=ask.user_id, key_id=key_id))
    ask.edge.keyring.forget()
    return json_answer(key)


async def issue_ticket(ask: Reading) -> Response:
    """A ticket for `/ws?ticket=…`, good once and for half a minute.

    On that WebSocket, messages are JSON objects. Sent there: `{"type": "subscribe", "run_id", "after"}` and `{"type": "unsubscribe",
    "run_id"}` (a run's events), `{"type": "watch", "after", "origin"}` and `{"type": "unwatch"}` (every change of what is yours),
    `{"type": "ping"}`. Got there: `{"type": "event", "event"}`, `{"type": "watching", "after", "origin", "complete"}`, `{"type":
    "change", "change": {"seq", "entity", "id", "op", "conversation_id"}}`, `{"type": "pong"}`, `{"type": "error", "error",
    "run_id"}`, `{"type": "closing", "resume": {RUN_ID: SEQ}, "changes": SEQ}`. Closed with 1008 when the key ends, 1012 at a
    restart, 1013 when its reader is too slow: come again after the last number seen."""
    ticket = await ask.edge.tickets.issue(ask.caller.key_hash)
    return json_answer(Ticket(ticket=ticket, expires_in_s=LIFE_S), 201)
