"""What a route's function is given: the replica's holdings, the caller, and the id under which a write is done once."""

import hashlib
import re
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import Request

from perenne.errors import InvalidRequest, Unauthorized
from perenne.ids import new_id
from perenne.store import Store
from serve.caller import Caller
from serve.edge import Edge

LIST_MAX = 500
_KEY_CHARS_MAX = 200
_TIMED = re.compile(r"[a-z]+_([0-9a-f]{12})7[0-9a-f]{19}")  # ours: a prefix and a UUID version 7


@dataclass(frozen=True, slots=True)
class Asking:
    """One request's context."""

    edge: Edge
    caller: Caller
    command_id: str
    repeatable: bool  # the client sent an Idempotency-Key

    @property
    def store(self) -> Store:
        return self.edge.store

    @property
    def user_id(self) -> str:
        return self.caller.user_id

    @property
    def born_at(self) -> float:
        """Now, or when the Idempotency-Key was born, so that what is reckoned from it is the same when it comes again. A key
        that does not say is taken to be of this day."""
        timed = _TIMED.fullmatch(self.command_id.rpartition(":")[2])
        return int(timed[1], 16) / 1000 if timed else time.time() // 86_400 * 86_400

    async def key_ended(self) -> Unauthorized:
        """Returns once the caller's key is good no more, with the word that says so."""
        return await self.edge.keyring.end_of(self.caller)

    def id(self, prefix: str) -> str:
        """The id of something that this request makes: the same when the request comes again under its Idempotency-Key. Born
        when the key was, if the key says when (as `perenne.ids` do)."""
        digest = hashlib.sha256(f"{prefix}:{self.command_id}".encode()).hexdigest()
        timed = _TIMED.fullmatch(self.command_id.rpartition(":")[2])
        return f"{prefix}_{timed[1]}7{digest[:19]}" if timed else f"{prefix}_{digest[:32]}"


def command_id_of(caller: Caller, idempotency_key: str | None) -> str:
    """The id of a request's command: a user's key is their own, whatever others send."""
    if idempotency_key is None:
        return f"{caller.user_id}:{new_id('cmd')}"
    if not 0 < len(idempotency_key) <= _KEY_CHARS_MAX or not idempotency_key.isprintable():
        raise InvalidRequest(f"Idempotency-Key: expected 1 to {_KEY_CHARS_MAX} printable characters", "Idempotency-Key")
    return f"{caller.user_id}:{idempotency_key}"


async def edge_of(request: Request) -> Edge:
    return request.app.state.edge


async def asking(request: Request) -> Asking:
    caller: Caller = request.scope["caller"]
    idempotency_key = request.headers.get("idempotency-key")
    command_id = command_id_of(caller, idempotency_key)
    return Asking(request.app.state.edge, caller, command_id, idempotency_key is not None)


Reading = Annotated[Asking, Depends(asking)]
Writing = Annotated[Asking, Depends(asking)]
Limit = Annotated[int, Query(ge=1, le=LIST_MAX, description="How many to list at most.")]
After = Annotated[str | None, Query(description="`next` of the page before.", max_length=500)]
ProjectQuery = Annotated[str | None, Query(description="Id or name of a project; left out: all of them.", max_length=300)]
