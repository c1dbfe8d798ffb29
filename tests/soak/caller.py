"""Requests that are sent again under one id until they are answered, and how long those took."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.live.running import RunningInstance

GIVE_UP_S = 240.0  # a start of everything on a busy PC is in it
_TRY_AGAIN_S = (0.05, 1.0)
_AGAIN = frozenset({429, 502, 503, 504, 507})  # "not now": the same request may succeed later


class Unanswered(Exception):
    """Nothing was said in time: not acknowledged, nothing is promised."""


@dataclass
class Meter:
    """Milliseconds of each answered request by kind, outside and inside of faults; and what else was said."""

    outside: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    inside: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    later: Counter[str] = field(default_factory=Counter)  # "not now", by status, and connections that broke
    striking: int = 0  # faults at work now

    def took(self, kind: str, seconds: float, struck: bool) -> None:
        (self.inside if struck or self.striking else self.outside)[kind].append(seconds * 1000)


class Caller:
    """One client's connection. `secret`: another key than the owner's."""

    def __init__(self, instance: RunningInstance, meter: Meter, key: Callable[[], str]) -> None:
        self._meter, self._key = meter, key
        self.address = instance.address
        self.http = httpx.AsyncClient(base_url=instance.address, timeout=20.0, trust_env=False)

    async def close(self) -> None:
        await self.http.aclose()

    def headers(self, command: str | None = None, **more: str) -> dict[str, str]:
        given = {"Authorization": f"Bearer {self._key()}", **{name.replace("_", "-"): value for name, value in more.items()}}
        return given | ({"Idempotency-Key": command} if command else {})

    async def ask(
        self, kind: str, method: str, path: str, *, command: str | None = None, give_up_s: float = GIVE_UP_S, **options: Any
    ) -> httpx.Response:
        """The first answer that is none of "not now"; Unanswered when the time is over. The time that counts is that of the whole."""
        loop = asyncio.get_running_loop()
        begun, struck, pause = loop.time(), bool(self._meter.striking), _TRY_AGAIN_S[0]
        more = options.pop("headers", {})
        while loop.time() - begun < give_up_s:
            try:
                answer = await self.http.request(method, path, headers={**self.headers(command), **more}, **options)
            except httpx.TransportError as error:
                self._meter.later[type(error).__name__] += 1
            else:
                if answer.status_code not in _AGAIN:
                    self._meter.took(kind, loop.time() - begun, struck)
                    return answer
                self._meter.later[str(answer.status_code)] += 1
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))
            pause = min(_TRY_AGAIN_S[1], pause * 1.5)
        raise Unanswered(f"{method} {path} had no answer in {give_up_s:g} s")

    async def everything(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """All items of a list."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            answer = await self.ask("list", "GET", path, params={**query, "limit": 500, **({"after": after} if after else {})})
            answer.raise_for_status()
            page = answer.json()
            if isinstance(page, list):
                return page
            found.extend(page["items"])
            after = page.get("next")
            if after is None:
                return found
