"""Routes of alerts: an operator's alone. Where messages go is set on the PC itself (`perenne channels add`); no address and no secret of
a channel comes by here."""

import time

from starlette.responses import Response

from perenne import names
from perenne.messages.alert_commands import (
    AcknowledgeAlert,
    CreateSilence,
    CreateSubscriber,
    DeleteChannel,
    DeleteSilence,
    DeleteSubscriber,
    RedeliverDelivery,
    TestAlert,
)
from perenne.messages.alerts import AlertState, DeliveryState, Trial
from serve.answers import json_answer
from serve.asking import After, Limit, Reading, Writing
from serve.bodies import AlertTestBody, SilenceBody, SubscriberBody

_TRY_WITHIN_S = 75.0  # longer than the longest send


async def list_alerts(ask: Reading, state: AlertState | None = None, limit: Limit = 100, after: After = None) -> Response:
    """Alerts, those first that were seen last: what is wrong, since when, what to do."""
    ask.caller.need_owner()
    return json_answer(await ask.store.read("alerts", state=state, limit=limit, after=after))


async def get_alert(ask: Reading, alert_id: str) -> Response:
    """One alert."""
    ask.caller.need_owner()
    return json_answer(await ask.store.read("alert", alert_id=alert_id))


async def acknowledge_alert(ask: Writing, alert_id: str) -> Response:
    """Say that it was seen: it is not told again to anybody until it gets worse. The first who says so stays."""
    ask.caller.need_owner()
    command = AcknowledgeAlert(command_id=ask.command_id, user_id=ask.user_id, alert_id=alert_id, by=ask.caller.key.label)
    return json_answer(await ask.store.write(command))


async def send_test(ask: Writing, body: AlertTestBody | None = None) -> Response:
    """Send an alert that says that it is a test, to one channel or to every subscriber."""
    ask.caller.need_owner()
    command = TestAlert(
        command_id=ask.command_id,
        user_id=ask.user_id,
        alert_id=ask.id("alr"),
        channel_id=None if body is None else body.channel,
    )
    alert = await ask.store.write(command)
    ask.edge.wake_notifier()
    return json_answer(alert, 202)


async def list_silences(ask: Reading) -> Response:
    """What is kept quiet now."""
    ask.caller.need_owner()
    return json_answer(await ask.store.read("silences", now=time.time()))


async def create_silence(ask: Writing, body: SilenceBody) -> Response:
    """No messages about such alerts for a while; they are still listed. What still fires afterwards is told then."""
    ask.caller.need_owner()
    command = CreateSilence(
        command_id=ask.command_id,
        user_id=ask.user_id,
        silence_id=ask.id("sil"),
        events=tuple(body.events),
        labels=dict(body.labels),
        reason=body.reason,
        length_s=body.for_s,
    )
    return json_answer(await ask.store.write(command), 201)


async def delete_silence(ask: Writing, silence_id: str) -> Response:
    """End a silence now."""
    ask.caller.need_owner()
    gone = DeleteSilence(command_id=ask.command_id, user_id=ask.user_id, silence_id=silence_id)
    return json_answer(await ask.store.write(gone))


async def list_channels(ask: Reading) -> Response:
    """Where messages go, without what is secret of it; when one last arrived, and what went wrong since."""
    ask.caller.need_owner()
    return json_answer(await ask.store.read("channels"))


async def try_channel(ask: Writing, channel_id: str) -> Response:
    """Send a message over a channel now, past what waits, and say what came back: `ok` false when it did not arrive."""
    ask.caller.need_owner()
    trial: Trial = await ask.edge.directory.call(names.NOTIFIER, "try_channel", timeout_s=_TRY_WITHIN_S, channel_id=channel_id)
    return json_answer(trial)


async def delete_channel(ask: Writing, channel_id: str) -> Response:
    """Remove a channel, with who hears over it and what is on its way."""
    ask.caller.need_owner()
    gone = DeleteChannel(command_id=ask.command_id, user_id=ask.user_id, channel_id=channel_id)
    return json_answer(await ask.store.write(gone))


async def list_subscribers(ask: Reading) -> Response:
    """Who hears of what over which channel."""
    ask.caller.need_owner()
    return json_answer(await ask.store.read("subscribers"))


async def create_subscriber(ask: Writing, body: SubscriberBody) -> Response:
    """Have a channel told of something more."""
    ask.caller.need_owner()
    command = CreateSubscriber(
        command_id=ask.command_id,
        user_id=ask.user_id,
        subscriber_id=ask.id("sub"),
        name=body.name,
        channel_id=body.channel,
        events=tuple(body.events),
        severity=body.severity,
        quiet_from=body.quiet_from,
        quiet_until=body.quiet_until,
        time_zone=body.time_zone,
        level=body.level,
    )
    return json_answer(await ask.store.write(command), 201)


async def delete_subscriber(ask: Writing, subscriber_id: str) -> Response:
    """Have it told no more; what is on its way to it goes too."""
    ask.caller.need_owner()
    gone = DeleteSubscriber(command_id=ask.command_id, user_id=ask.user_id, subscriber_id=subscriber_id)
    return json_answer(await ask.store.write(gone))


async def list_deliveries(
    ask: Reading, state: DeliveryState | None = None, limit: Limit = 100, after: After = None
) -> Response:
    """Messages, newest first: on their way, arrived, given up."""
    ask.caller.need_owner()
    return json_answer(await ask.store.read("deliveries", state=state, limit=limit, after=after))


async def redeliver(ask: Writing, delivery_id: str) -> Response:
    """Send a message again that was given up, under the id that it had."""
    ask.caller.need_owner()
    command = RedeliverDelivery(command_id=ask.command_id, user_id=ask.user_id, delivery_id=delivery_id)
    made = await ask.store.write(command)
    ask.edge.wake_notifier()
    return json_answer(made, 202)
