"""A store of a test's own with channels and messages in it, a Notifier over it, and sinks that do as they are told. Time is the
clock's; nothing waits."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from actors.alerts.channels.order import Order, Sent
from actors.alerts.notifier import Notifier
from actors.alerts.notifier_bell import MemoryBell
from actors.store import hearers, outbox
from perenne.errors import Unavailable
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.messages.alerts import Delivery, Severity
from tests.unit.store.store_house import StoreHouse

_READS = {
    "next_delivery_at": outbox.next_delivery_at,
    "channel_secret": hearers.channel_secret,
    "subscribers": hearers.list_subscribers,
}


class HouseOutbox:
    """What the Notifier asks, answered by the house's own database. `away`: neither is answered."""

    def __init__(self, house: StoreHouse) -> None:
        self.house, self.away = house, False

    async def write(self, command: c.Command, deadline_s: float = 30.0) -> Any:
        if self.away:
            raise Unavailable("the database", 0.1)
        (outcome,) = await asyncio.wrap_future(self.house.writer.submit((command,)))
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    async def read(self, method: str, /, *, deadline_s: float = 10.0, **query: Any) -> Any:
        if self.away:
            raise Unavailable("the database", 0.1)
        return await asyncio.to_thread(self.house.ask, _READS[method], **query)


@dataclass
class Sinks:
    """An `Outgoing` that notes what was sent where. `down`: addresses that take nothing; `hung`: those that take for ever."""

    down: dict[str, Sent] = field(default_factory=dict)
    hung: set[str] = field(default_factory=set)
    got: list[Order] = field(default_factory=list)
    tried: list[Order] = field(default_factory=list)

    async def send(self, order: Order) -> Sent:
        self.tried.append(order)
        while order.url in self.hung:
            await asyncio.sleep(0.005)
        if order.url in self.down:
            return self.down[order.url]
        self.got.append(order)
        return Sent(ok=True, words="taken")

    def keys(self, url: str) -> list[str]:
        return [order.key for order in self.got if order.url == url]


class NotifierHouse:
    """One channel is `https://NAME.example`, with a subscriber of the same name that hears of everything."""

    def __init__(self, house: StoreHouse) -> None:
        self.house, self.clock, self.sinks = house, house.clock, Sinks()
        self.outbox = HouseOutbox(house)
        house.system(c.CreateUser, new_user_id=c.OWNER, name="owner")
        self.notifier = self.start()
        self._made = 0

    def start(self, worker: str = "Notifier") -> Notifier:
        """Another one, as after a death."""
        self.notifier = Notifier(worker, self.outbox, self.sinks, MemoryBell(), self.clock, seed=1)
        return self.notifier

    def channel(self, name: str, **subscriber: Any) -> None:
        made = {"name": name, "kind": "webhook", "url": f"https://{name}.example", "address": "https://…"}
        self.house.do(a.CreateChannel, user_id=c.OWNER, channel_id=name, signing_secret="whsec_a", **made)
        heard = {"name": name, "channel_id": name, "severity": "debug"} | subscriber
        self.house.do(a.CreateSubscriber, user_id=c.OWNER, subscriber_id=name, **heard)

    def tell(self, count: int = 1, severity: Severity = "warning") -> list[str]:
        """So many alerts, one after another; every subscriber has a message of each. Their ids."""
        pace = a.Pace(wait_s=0.0, interval_s=0.0, per_fingerprint=10_000, in_all=10_000)
        ids: list[str] = []
        for _ in range(count):
            self._made += 1
            self.clock.advance(0.001)
            id = f"alr_{self._made:05}"
            fields = {"fingerprint": id, "severity": severity, "event": "disk.low", "title": f"Disk {self._made}", "pace": pace}
            self.house.system(a.RaiseAlert, alert_id=id, **fields)
            ids.append(id)
        return ids

    async def work(self) -> None:
        """All that is due now."""
        while await self.notifier.round() or self.notifier.queue:
            await self.notifier.settled()

    async def pass_time(self, seconds: float, step_s: float = 30.0) -> None:
        """As `run` would: at every moment that something may be due."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            self.clock.advance(min(step_s, end - self.clock.now()))
            await self.work()

    def deliveries(self, state: str | None = None) -> tuple[Delivery, ...]:
        """Oldest first."""
        return tuple(reversed(self.house.ask(outbox.list_deliveries, state, 1_000, None).items))

    def told(self, name: str) -> list[str]:
        """The alerts that a channel's sink heard of, in order."""
        heard = [order for order in self.sinks.got if order.url == f"https://{name}.example"]
        return [order.body["data"]["alert_id"] for order in heard]
