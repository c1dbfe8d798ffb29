"""Messages out of the outbox and on their way: each channel at its own pace, in its order. The rows are the truth; what is held here is
only what is under way.

A message is leased, sent, and recorded; what dies between sending and recording is sent once more under the same key when the lease
is over. That is the only way to a duplicate.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from actors.alerts.channels.order import Order, Sent
from actors.alerts.notifier_bell import Bell
from actors.alerts.notifier_pace import GiveUp, after_failure
from actors.alerts.notifier_words import body_of, text_of, title_of
from actors.alerts.outgoing import Outgoing
from perenne.alerting import quiet_end
from perenne.clock import Clock
from perenne.errors import LeaseLost, NotFound, PerenneError
from perenne.ids import new_id
from perenne.messages.alert_commands import FailDelivery, FinishDelivery, LeaseDeliveries, PostponeDelivery
from perenne.messages.alerts import ChannelSecret, Delivery, Subscriber, Told, Trial
from perenne.messages.commands import SYSTEM_USER, Command
from perenne.names import DELIVERY_WAIT_S_MAX

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 2.0  # what a lost hint costs at most
LEASE_S = 120.0  # longer than the longest send
CHANNELS_AT_ONCE = 64  # forks at work; the rest wait for one to end
_AGAIN_S = (0.5, 10.0)  # between tries of a record that the database does not take


class Outbox(Protocol):
    """The part of `perenne.store.Store` that is used here."""

    async def write(self, command: Command, deadline_s: float = 30.0) -> Any: ...

    async def read(self, method: str, /, *, deadline_s: float = 10.0, **query: Any) -> Any: ...


class Notifier:
    """`run` until cancelled, in one event loop. `worker` names it over its deaths: its own leases are taken back at once."""

    def __init__(
        self,
        worker: str,
        outbox: Outbox,
        outgoing: Outgoing,
        bell: Bell,
        clock: Clock,
        *,
        poll_s: float = POLL_S,
        seed: int | None = None,
    ) -> None:
        self._worker, self._outbox, self._outgoing, self._bell = worker, outbox, outgoing, bell
        self._clock, self._poll_s, self._random = clock, poll_s, random.Random(seed)
        self._at_work: dict[str, asyncio.Task[None]] = {}  # by channel
        self._taken_back = False
        self.progress_at = time.monotonic()
        self.figures = {"delivered": 0, "failed": 0, "dead": 0}

    @property
    def queue(self) -> int:
        """Messages under way."""
        return len(self._at_work)

    def wake(self) -> None:
        """A hint: there may be something to send."""
        self._bell.ring()

    async def run(self) -> None:
        """Send what is due until cancelled. An outage of the database is waited for."""
        listening = asyncio.create_task(self._bell.run())
        try:
            while True:
                try:
                    again = await self.round()
                except PerenneError as error:
                    log.warning("the outbox could not be looked at: %s", error)
                    again = False
                self.progress_at = time.monotonic()
                if not again:
                    await self._bell.wait(self._poll_s)
        finally:
            listening.cancel()
            await self.close()

    async def close(self) -> None:
        """Let go of what is under way: its leases run out, or are taken back. Harmless twice."""
        tasks = [*self._at_work.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Until nothing is under way; for tests and for an end in order."""
        while self._at_work:
            await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    async def round(self) -> bool:
        """Lease what is due and begin to send it; whether anything was."""
        room = CHANNELS_AT_ONCE - len(self._at_work)
        if room <= 0:
            return False
        if self._taken_back:
            due_at = await self._outbox.read("next_delivery_at", but_channels=tuple(self._at_work))
            if due_at is None or 0.0 < due_at - self._clock.now() <= DELIVERY_WAIT_S_MAX:  # later is from a wrong clock
                return False
        leased: tuple[Delivery, ...] = await self._outbox.write(
            LeaseDeliveries(
                command_id=new_id("cmd"),
                user_id=SYSTEM_USER,
                worker=self._worker,
                limit=room,
                lease_s=LEASE_S,
                but_channels=tuple(self._at_work),
                take_back=not self._taken_back,
            )
        )
        self._taken_back = True
        for delivery in leased:
            self._at_work[delivery.channel_id] = asyncio.create_task(self._work(delivery))
        return bool(leased)

    async def _work(self, delivery: Delivery) -> None:
        try:
            await self._deliver(delivery)
        except (LeaseLost, NotFound) as error:  # deleted, or another's by now
            log.info("message %s is no longer this sender's: %s", delivery.id, error)
        except PerenneError as error:
            log.warning("message %s could not be begun: %s", delivery.id, error)
        except Exception:
            log.exception("message %s could not be sent", delivery.id)
        finally:
            self._at_work.pop(delivery.channel_id, None)
            self.progress_at = time.monotonic()
            self._bell.ring()

    async def _deliver(self, delivery: Delivery) -> None:
        subscriber = await self._subscriber(delivery.subscriber_id)
        now = self._clock.now()
        held_until = None if subscriber is None or delivery.severity == "critical" else quiet_end(subscriber, now)
        assert delivery.lease_token is not None
        mine = {"user_id": SYSTEM_USER, "delivery_id": delivery.id, "lease_token": delivery.lease_token}
        if held_until is not None:
            await self._record(PostponeDelivery(command_id=new_id("cmd"), until=held_until, **mine))
            return
        channel_id = delivery.channel_id
        secret: ChannelSecret = await _patiently(lambda: self._outbox.read("channel_secret", channel_id=channel_id))
        try:
            sent = await self._outgoing.send(order_of(delivery, secret, now))
        except Exception as error:  # ours, and no reason to hold up those behind it for ever
            log.exception("message %s could not be sent", delivery.id)
            sent = Sent(ok=False, words=f"Perenne could not send it: {type(error).__name__}", unfit=True)
        if sent.ok:
            await self._record(FinishDelivery(command_id=new_id("cmd"), **mine))
            self.figures["delivered"] += 1
            return
        first_due = (
            delivery.created_at if subscriber is None else quiet_end(subscriber, delivery.created_at) or delivery.created_at
        )
        waited_s = self._clock.now() - first_due
        then = after_failure(delivery.attempt, waited_s, self._random, unfit=sent.unfit, asked_s=sent.retry_after_s)
        retry_in_s = None if isinstance(then, GiveUp) else then.in_s
        log.warning("message %s did not arrive (try %d): %s", delivery.id, delivery.attempt, sent.words)
        await self._record(FailDelivery(command_id=new_id("cmd"), error=sent.words, retry_in_s=retry_in_s, **mine))
        self.figures["failed" if retry_in_s is not None else "dead"] += 1

    async def _subscriber(self, subscriber_id: str | None) -> Subscriber | None:
        if subscriber_id is None:
            return None
        found: tuple[Subscriber, ...] = await _patiently(lambda: self._outbox.read("subscribers"))
        return next((each for each in found if each.id == subscriber_id), None)

    async def _record(self, command: Command) -> None:
        """Until the database has it: the sink has the message already. Its channel waits for that, and no other does."""
        await _patiently(lambda: self._outbox.write(command))

    async def try_channel(self, channel_id: str) -> Trial:
        """Send a message over a channel now, past the outbox, and say what came back. NotFound when there is none."""
        secret: ChannelSecret = await self._outbox.read("channel_secret", channel_id=channel_id)
        now, key = self._clock.now(), new_id("tst")
        told = Told(
            alert_id=key,
            transition="test",
            severity="info",
            event="test",
            title="A test: this channel works",
            text="Somebody asked Perenne for this message (perenne channels test).",
            at=now,
        )
        made = Delivery(
            id=key,
            alert_id=key,
            channel_id=channel_id,
            severity="info",
            entries=(told,),
            state="leased",
            next_at=now,
            created_at=now,
            updated_at=now,
        )
        sent = await self._outgoing.send(order_of(made, secret, now))
        return Trial(channel_id=channel_id, ok=sent.ok, words=sent.words, status=sent.status, took_s=sent.took_s)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What the database says, whenever it is back."""
    pause_s = _AGAIN_S[0]
    while True:
        try:
            return await ask()
        except (LeaseLost, NotFound):
            raise
        except PerenneError as error:
            log.warning("the outbox waits for the database: %s", error)
        await asyncio.sleep(pause_s)
        pause_s = min(_AGAIN_S[1], pause_s * 2)


def order_of(delivery: Delivery, secret: ChannelSecret, now: float) -> Order:
    """What the sender is told: where to, and what, under the delivery's id."""
    return Order(
        kind=secret.kind,
        url=secret.url,
        key=delivery.id,
        at=now,
        title=title_of(delivery),
        text=text_of(delivery),
        severity=delivery.severity,
        body=body_of(delivery),
        secrets=tuple((secret.signing_secret or "").split()),
    )
