"""Writes under fire, and the account of them: what was acknowledged must be there, once."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import httpx

from perenne.ids import new_id
from tests.live.running import RunningInstance, mark_of_run

_TRY_AGAIN_S = 0.05
GIVE_UP_S = 60.0


@dataclass
class Account:
    """Of one load. `refused`: writes whose repetition under the same id got another answer than the first success."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # title -> id that the answer named
    refused: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.refused)

    def __str__(self) -> str:
        return (
            f"{len(self.acknowledged)} acknowledged, lost {self.lost[:5]} of {len(self.lost)}, "
            f"doubled {self.doubled[:5]} of {len(self.doubled)}, refused {self.refused[:5]} of {len(self.refused)}"
        )


class Load:
    """Clients that create conversations without a pause, each under an id that is sent again until it is answered; each is
    then sent once more, as a client does whose answer was lost."""

    def __init__(self, instance: RunningInstance, clients: int = 8) -> None:
        self._instance, self._clients, self._mark = instance, clients, mark_of_run()
        self.account = Account()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._latest = 0.0

    async def __aenter__(self) -> "Load":
        self._http = httpx.AsyncClient(
            base_url=self._instance.address,
            headers={"Authorization": f"Bearer {self._instance.key}"},
            timeout=10.0,
            trust_env=False,
        )
        self._tasks = [asyncio.create_task(self._client(n)) for n in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self._http.aclose()

    async def acknowledged(self, more: int, within_s: float = GIVE_UP_S) -> float:
        """Wait until this many more writes are acknowledged; the seconds that took."""
        loop = asyncio.get_running_loop()
        begun, goal = loop.time(), len(self.account.acknowledged) + more
        while len(self.account.acknowledged) < goal:
            assert loop.time() - begun < within_s, (
                f"only {len(self.account.acknowledged)} of {goal} writes within {within_s:g} s"
            )
            await asyncio.sleep(0.01)
        return loop.time() - begun

    async def _client(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            title, command = f"{self._mark}-{number}-{count}", new_id("cmd")
            made = await self._send(title, command)
            if made is None:
                continue  # never answered: not acknowledged, nothing is promised
            self.account.acknowledged[title] = made
            if not self._stop.is_set() and (again := await self._send(title, command)) not in (made, None):
                self.account.refused.append(f"{title}: {made} then {again}")

    async def _send(self, title: str, command: str) -> str | None:
        """The id that the server made, or what it said instead; None when it said nothing in time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GIVE_UP_S
        while loop.time() < deadline:
            try:
                answer = await self._http.post(
                    "/api/conversations", json={"title": title}, headers={"Idempotency-Key": command}
                )
            except httpx.TransportError:
                await asyncio.sleep(_TRY_AGAIN_S)
                continue
            if answer.is_success:
                return str(answer.json()["id"])
            if answer.status_code in (429, 502, 503, 504):
                await asyncio.sleep(_TRY_AGAIN_S)
                continue
            return f"{answer.status_code} {answer.text[:200]}"
        return None

    async def check(self) -> Account:
        """Compare what was acknowledged with what is stored, after the load has ended."""
        stored = await stored_titles(self._instance, self._mark)
        counts = Counter(title for title, _ in stored)
        ids = {title: id for title, id in stored}
        self.account.lost = [t for t, id in self.account.acknowledged.items() if ids.get(t) != id]
        self.account.doubled = [title for title, count in counts.items() if count > 1]
        return self.account


async def stored_titles(instance: RunningInstance, mark: str) -> list[tuple[str, str]]:
    """(title, id) of every stored conversation of a load."""
    found: list[tuple[str, str]] = []
    after: str | None = None
    headers = {"Authorization": f"Bearer {instance.key}"}
    async with httpx.AsyncClient(base_url=instance.address, headers=headers, timeout=30.0, trust_env=False) as http:
        while True:
            query = {"limit": 500} | ({"after": after} if after else {})
            answer = await http.get("/api/conversations", params=query)
            if answer.status_code in (429, 503):
                await asyncio.sleep(0.2)
                continue
            answer.raise_for_status()
            page = answer.json()
            found.extend((item["title"], item["id"]) for item in page["items"] if item["title"].startswith(mark))
            after = page["next"]
            if after is None:
                return found
