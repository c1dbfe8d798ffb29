"""Keys by their hash: a bounded cache that forgets within a second, so that a revoked key is out by then."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from contextvars import Context
from dataclasses import dataclass

from perenne.errors import PerenneError, Unauthorized
from perenne.messages.records import Key
from perenne.store import Store
from serve.caller import Caller

TTL_S = 1.0  # how long an answer of the store is believed: the longest that a revoked key still works
ENTRIES_MAX = 4096
SECRET_CHARS_MAX = 512
_LOOK_AGAIN_S = 0.05  # shortest pause of whoever waits for the end of a key


def hash_of(secret: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass
class _End:
    """Waits for the end of one key, as long as anybody does."""

    task: "asyncio.Task[Unauthorized]"
    waiting: int = 0


class Keyring:
    """Finds the key behind a secret; the same question at the same time is asked of the store once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[float, Key | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Key | None]] = {}
        self._ends: dict[str, _End] = {}

    async def caller(self, authorization: str | None) -> Caller:
        """The caller behind an Authorization header; Unauthorized when there is none."""
        scheme, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret or len(secret) > SECRET_CHARS_MAX:
            raise Unauthorized()
        return await self.by_hash(hash_of(secret), secret)

    async def by_hash(self, key_hash: str, secret: str = "") -> Caller:
        """The caller behind a key's hash, such as a ticket carries."""
        key = await self._key(key_hash)
        if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= time.time()):
            raise Unauthorized()
        return Caller(key, secret, key_hash)

    async def end_of(self, caller: Caller) -> Unauthorized:
        """Returns, a second later at most, once the caller's key was revoked or is too old: a stream may be open for hours. All that
        wait for one key cost one question a second, and one task; an outage of the store takes nobody's answer away."""
        end = self._ends.get(caller.key_hash)
        if end is None:
            end = self._ends[caller.key_hash] = _End(asyncio.create_task(self._end_of(caller), context=Context()))
        end.waiting += 1
        try:
            return await asyncio.shield(end.task)
        finally:
            end.waiting -= 1
            if not end.waiting:
                end.task.cancel()
                if self._ends.get(caller.key_hash) is end:
                    del self._ends[caller.key_hash]

    async def _end_of(self, caller: Caller) -> Unauthorized:
        while True:
            known_until, _ = self._known.get(caller.key_hash, (0.0, None))
            await asyncio.sleep(max(_LOOK_AGAIN_S, known_until - time.monotonic()))
            try:
                await self.by_hash(caller.key_hash)
            except Unauthorized:
                return Unauthorized("the key was revoked or is too old")
            except PerenneError:
                await asyncio.sleep(TTL_S)

    def forget(self) -> None:
        """Believe nothing of what was heard before."""
        self._known.clear()

    async def _key(self, key_hash: str) -> Key | None:
        held = self._known.get(key_hash)
        if held is not None and held[0] > time.monotonic():
            return held[1]
        asking = self._asking.get(key_hash)
        if asking is None:
            asking = asyncio.create_task(self._ask(key_hash))
            self._asking[key_hash] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key_hash, None))
        return await asyncio.shield(asking)

    async def _ask(self, key_hash: str) -> Key | None:
        asked_at = time.monotonic()
        key: Key | None = await self._store.read("key_by_hash", key_hash=key_hash, deadline_s=5.0)
        self._known[key_hash] = (asked_at + TTL_S, key)
        self._known.move_to_end(key_hash)
        while len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)
        return key
