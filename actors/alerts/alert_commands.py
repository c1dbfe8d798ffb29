"""``perenne alerts``: what is wrong or was, seen, kept quiet, tried."""

import asyncio
import re
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from actors.alerts.channel_commands import House, Json, in_house, moment, say
from perenne import names
from perenne.cli.troubles import Exit
from perenne.errors import InvalidRequest, PerenneError
from perenne.ids import new_id
from perenne.messages import alert_commands as a
from perenne.messages.alerts import Alert, Channel, Delivery, Silence
from perenne.messages.records import Page

app = typer.Typer(no_args_is_help=True, help="What is wrong or was: listed, acknowledged, kept quiet, tried.")
Id = Annotated[str, typer.Argument(help="As the list shows it.")]
_FOR = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
SENT_WITHIN_S = 60.0  # how long a test waits for what comes back: a sink has 45 s
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def seconds(text: str) -> float:
    """Of `30m`, `2h`, `1d`. InvalidRequest for what is none."""
    found = _FOR.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise InvalidRequest(f"for: expected a length of time such as 30m, 2h or 1d, got {text!r}", "for")
    return float(found[1]) * _UNITS[found[2]]


def labels(given: list[str] | None) -> dict[str, str]:
    """Of `name=value`, each."""
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise InvalidRequest(f"label: expected NAME=VALUE such as subject=RunHost, got {each!r}", "label")
        found[name] = value
    return found


def _notes(alert: Alert) -> str:
    notes = [
        f"seen {alert.count} times" if alert.count > 1 else "",
        f"acknowledged by {alert.acknowledged_by}" if alert.acknowledged_by else "",
        "silenced" if alert.silenced_by else "",
        "follows from another" if alert.inhibited_by else "",
        f"over since {moment(alert.resolved_at)}" if alert.resolved_at else "",
    ]
    return "; ".join(note for note in notes if note)


def _shown(alert: Alert) -> str:
    lines = [f"{alert.severity}  {alert.title}  (since {moment(alert.first_seen)})", f"    {alert.text}", f"    {alert.advice}"]
    notes = _notes(alert)
    return "\n".join([line for line in lines if line.strip()] + [f"    {alert.id}{'  ' + notes if notes else ''}"])


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what is over, the newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most, with --all.")] = 50,
    as_json: Json = False,
) -> None:
    """What fires now: what is wrong, since when, and what to do."""

    async def work(house: House) -> None:
        if everything:
            page: Page[Alert] = await house.store.read("alerts", state=None, limit=limit)
            found = page.items
        else:
            found = await house.store.read("open_alerts")
        for alert in found:
            say(asdict(alert)) if as_json else typer.echo(_shown(alert))
        if not found and not as_json:
            typer.echo("all is well: nothing is wrong" if not everything else "nothing was ever wrong")

    in_house(work)


@app.command()
def ack(
    alert_id: Id,
    by: Annotated[str, typer.Option(help="Who has seen it.")] = "owner",
    as_json: Json = False,
) -> None:
    """Say that you have seen it: a critical alert is told again and to others until somebody does."""

    async def work(house: House) -> None:
        alert: Alert = await house.do(a.AcknowledgeAlert, alert_id=alert_id, by=by)
        say(asdict(alert)) if as_json else typer.echo(f"{alert.title}: acknowledged by {alert.acknowledged_by}")

    in_house(work)


@app.command()
def silence(
    events: Annotated[list[str] | None, typer.Argument(help="Event types such as disk.low, backup.* or *.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only alerts with NAME=VALUE, as subject=RunHost; may be repeated.")
    ] = None,
    length: Annotated[str, typer.Option("--for", help="For how long: 30m, 2h, 1d.")] = "1h",
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the list later.")] = "",
    as_json: Json = False,
) -> None:
    """No messages about these for a while; they are still listed. What still fires afterwards is told then."""

    async def work(house: House) -> None:
        fields: dict[str, Any] = {"events": tuple(events or ()), "labels": labels(label), "reason": reason}
        made: Silence = await house.do(a.CreateSilence, silence_id=new_id("sil"), length_s=seconds(length), **fields)
        say(asdict(made)) if as_json else typer.echo(f"{made.id}  quiet until {moment(made.ends_at)}")

    in_house(work)


@app.command()
def silences(as_json: Json = False) -> None:
    """What is kept quiet now, and until when."""

    async def work(house: House) -> None:
        for each in await house.store.read("silences", now=time.time()):
            what = ", ".join([*each.events, *(f"{name}={value}" for name, value in each.labels.items())])
            why = f"  ({each.reason})" if each.reason else ""
            say(asdict(each)) if as_json else typer.echo(f"{each.id}  {what}  until {moment(each.ends_at)}{why}")

    in_house(work)


@app.command()
def unsilence(silence_id: Id, as_json: Json = False) -> None:
    """End a silence now."""

    async def work(house: House) -> None:
        await house.do(a.DeleteSilence, silence_id=silence_id)
        say({"id": silence_id, "removed": True}) if as_json else typer.echo(f"{silence_id} is over")

    in_house(work)


async def _ends(house: House, alert_id: str, within_s: float) -> list[Delivery]:
    """The messages that tell of it, once each was tried, or after so long."""
    until = time.monotonic() + within_s
    while True:
        newest: Page[Delivery] = await house.store.read("deliveries", limit=200)
        own = [each for each in newest.items if each.alert_id == alert_id]
        tried = all(each.state in ("delivered", "dead") or each.error for each in own)
        if tried or time.monotonic() > until:
            return own
        await asyncio.sleep(0.2)


@app.command("test")
def try_(
    channel: Annotated[str | None, typer.Argument(help="A channel; without one, every subscriber gets it.")] = None,
    as_json: Json = False,
) -> None:
    """Send an alert that says that it is a test, the way that real ones go, and say what came back. Exit code 1 when nobody hears of
    alerts, or a message did not arrive."""

    async def work(house: House) -> None:
        channel_id = None if channel is None else (await house.channel(channel)).id
        alert: Alert = await house.do(a.TestAlert, alert_id=new_id("alr"), channel_id=channel_id)
        woken = True
        try:
            await house.directory.call(names.NOTIFIER, "wake", timeout_s=5.0)
        except PerenneError:  # it looks by itself
            woken = False
        sent = await _ends(house, alert.id, SENT_WITHIN_S if woken else 0.0)
        if as_json:
            say({**asdict(alert), "deliveries": [asdict(each) for each in sent]})
        else:
            held: tuple[Channel, ...] = await house.store.read("channels")
            _tell_of(alert, sent, {each.id: each.name for each in held}, woken)
        if not sent or (woken and any(each.state != "delivered" for each in sent)):
            raise typer.Exit(Exit.PARTLY)

    in_house(work)


def _tell_of(alert: Alert, sent: list[Delivery], channels: dict[str, str], woken: bool) -> None:
    if not sent:
        typer.echo(
            "nobody hears of alerts: add a channel (perenne channels add), then say who hears over it (perenne channels subscribe)"
        )
    for each in sent:
        name = channels.get(each.channel_id, each.channel_id)
        if each.state == "delivered":
            typer.echo(f"{name}: taken")
        elif each.error:
            typer.echo(f"{name}: not taken, {each.error}" + ("" if each.state == "dead" else "; it is tried again"))
        else:
            typer.echo(
                f"{name}: {alert.id} is on its way" + ("" if woken else "; the Notifier is away and sends it once it is back")
            )
