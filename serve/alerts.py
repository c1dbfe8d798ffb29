"""Routes of alerts: an operator's alone. Where messages go is set on the PC itself (`perenne channels`); no secret of a channel comes
by here."""

import time

from starlette.responses import Response

from perenne.messages.alert_commands import AcknowledgeAlert, CreateSilence, DeleteSilence, RedeliverDelivery, TestAlert
from perenne.messages.alerts import AlertState, DeliveryState
from serve.answers import json_answer
from serve.asking import After, Limit, Reading, Writing
from serve.bodies import AlertTestBody, SilenceBody


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


async def list_subscribers(ask: Reading) -> Response:
    """Who hears of what over which channel."""
    ask.caller.need_owner()
    return json_answer(await ask.store.read("subscribers"))


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
