"""``perenne channels``: where messages about this instance go, and who hears of what."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer

from actors.alerts.channels.signature import new_secret
from perenne import names
from perenne.alerting import shown_address
from perenne.cli.console import Away
from perenne.cli.troubles import Exit, tell
from perenne.client import instance_of
from perenne.errors import InvalidRequest, NotFound, PerenneError, Unavailable
from perenne.ids import new_id
from perenne.line_directory import LineDirectory
from perenne.messages import alert_commands as a
from perenne.messages.alerts import Channel, ChannelKind, Delivery, Severity, Subscriber, Trial
from perenne.messages.commands import OWNER
from perenne.messages.records import Page
from perenne.settings import Settings, load_settings
from perenne.store import Store

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Where messages go: mail, chat, push, webhooks; and who hears of what.")
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output, and nothing else there.")]
Name = Annotated[str, typer.Argument(help="A channel as `perenne channels list` names it.")]
Events = Annotated[list[str] | None, typer.Option("--event", help="Only these, as backup.* or disk.low; may be repeated.")]
Least = Annotated[str, typer.Option("--severity", help="The least that is heard: critical, warning, info or debug.")]
Quiet = Annotated[
    str | None,
    typer.Option("--quiet", help="Hours in which all but critical messages wait, as 22:00-07:00.", metavar="FROM-UNTIL"),
]
Zone = Annotated[str, typer.Option("--time-zone", help="Of the quiet hours, as Europe/Madrid.")]
Level = Annotated[
    int, typer.Option("--level", min=0, help="0 hears at once; 1, 2, … when nobody acknowledged a critical alert.")
]
_TEST_WITHIN_S = 75.0  # longer than the longest send


class House:
    """The instance of this home, asked over its owners' socket files."""

    def __init__(self, settings: Settings) -> None:
        self.directory = LineDirectory(settings.ray_dir)
        self.store = Store(self.directory, settings.store.readers)

    async def channel(self, name: str) -> Channel:
        """By name, else by id."""
        found: tuple[Channel, ...] = await self.store.read("channels")
        for each in found:
            if name in (each.name, each.id):
                return each
        raise NotFound("channel", name)

    async def do(self, kind: type[a.Command], /, **fields: Any) -> Any:
        return await self.store.write(kind(command_id=new_id("cmd"), user_id=OWNER, **fields), deadline_s=15.0)


def in_house(work: Callable[[House], Awaitable[T]]) -> T:
    """What comes of work on the instance of this home; a trouble is told, and ends the command."""

    async def there() -> T:
        settings = load_settings()
        try:
            instance_of(settings.path())
            return await work(House(settings))
        except Unavailable as error:
            if error.what in (names.STORE_WRITER, names.store_reader(0)) or error.what.startswith("Perenne at"):
                raise Away(f"http://{settings.host}:{settings.port}") from error
            raise

    try:
        return asyncio.run(there())
    except PerenneError as error:
        raise typer.Exit(tell(error)) from None


def say(value: dict[str, Any]) -> None:
    """One object, on a line of its own."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def checked(url: str, webhook: bool) -> ChannelKind:
    """Which kind of channel an address is. InvalidRequest when it is none; it is not repeated, for it may hold a secret."""
    if webhook:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise InvalidRequest("url: expected https://HOST/PATH without user and password, got something else", "url")
        return "webhook"
    from actors.alerts.channels.services import service_of

    service_of(url)
    return "apprise"


def hours(quiet: str | None) -> tuple[str | None, str | None]:
    """Beginning and end of `22:00-07:00`."""
    if quiet is None:
        return None, None
    begin, found, end = quiet.partition("-")
    if not found:
        raise InvalidRequest(f"quiet: expected hours such as 22:00-07:00, got {quiet!r}", "quiet")
    return begin, end


def _severity(given: str) -> Severity:
    from perenne.alerting import SEVERITIES

    for each in SEVERITIES:
        if each == given:
            return each
    raise InvalidRequest(f"severity: expected one of {', '.join(reversed(SEVERITIES))}, got {given!r}", "severity")


async def _subscribe(
    house: House, channel: Channel, events: list[str] | None, severity: str, quiet: str | None, zone: str, level: int
) -> Subscriber:
    begin, end = hours(quiet)
    return await house.do(
        a.CreateSubscriber,
        subscriber_id=new_id("sub"),
        name=channel.name,
        channel_id=channel.id,
        events=tuple(events or ()),
        severity=_severity(severity),
        quiet_from=begin,
        quiet_until=end,
        time_zone=zone,
        level=level,
    )


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A name of your choice.")],
    url: Annotated[
        str | None,
        typer.Argument(help="Where to: mailto://…, ntfy://…, slack://… as Apprise has them. Asked for when left out."),
    ] = None,
    webhook: Annotated[
        bool, typer.Option("--webhook", help="The address is a webhook of yours; its messages are signed.")
    ] = False,
    events: Events = None,
    severity: Least = "warning",
    quiet: Quiet = None,
    time_zone: Zone = "UTC",
    level: Level = 0,
    as_json: Json = False,
) -> None:
    """Add a channel, and have it told of what it is to hear. The secret of a webhook is shown once, now."""
    address = url or typer.prompt("Address (it is not shown)", hide_input=True, err=True)

    async def work(house: House) -> None:
        kind = checked(address, webhook)
        secret = new_secret() if kind == "webhook" else None
        shown = shown_address(address)
        made = {
            "channel_id": new_id("chn"),
            "name": name,
            "kind": kind,
            "url": address,
            "address": shown,
            "signing_secret": secret,
        }
        channel: Channel = await house.do(a.CreateChannel, **made)
        try:
            subscriber = await _subscribe(house, channel, events, severity, quiet, time_zone, level)
        except PerenneError:
            await house.do(a.DeleteChannel, channel_id=channel.id)  # all or nothing
            raise
        if as_json:
            say({**asdict(channel), "secret": secret, "subscribers": [asdict(subscriber)]})
            return
        typer.echo(f"{channel.name}  {channel.address}  hears of {severity} and worse; try it: perenne channels test {name}")
        if secret is not None:
            typer.echo(f"its messages are signed with {secret}\nkeep it: it is not shown again")

    in_house(work)


def moment(at: float | None) -> str:
    """When, as the clock on the wall has it."""
    return "never" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _heard(each: Subscriber) -> str:
    what = ", ".join(each.events) or "everything"
    quiet = f", quiet {each.quiet_from}-{each.quiet_until} {each.time_zone}" if each.quiet_from else ""
    later = f", when escalated {each.level} times" if each.level else ""
    return f"    {each.id}  {what}, {each.severity} and worse{quiet}{later}"


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Every channel: where it leads, when a message last arrived, what went wrong since, and what it hears of."""

    async def work(house: House) -> None:
        channels: tuple[Channel, ...] = await house.store.read("channels")
        subscribers: tuple[Subscriber, ...] = await house.store.read("subscribers")
        for channel in channels:
            own = [each for each in subscribers if each.channel_id == channel.id]
            if as_json:
                say({**asdict(channel), "subscribers": [asdict(each) for each in own]})
                continue
            wrong = f"  ({channel.error})" if channel.error else ""
            typer.echo(
                f"{channel.name}  {channel.kind}  {channel.address}  last arrived: {moment(channel.delivered_at)}{wrong}"
            )
            for each in own:
                typer.echo(_heard(each))
        if not channels and not as_json:
            typer.echo("nobody is told of anything yet: perenne channels add NAME")

    in_house(work)


@app.command("test")
def try_(name: Name, as_json: Json = False) -> None:
    """Send a message over a channel now, and say what came back."""

    async def work(house: House) -> Trial:
        channel = await house.channel(name)
        return await house.directory.call(names.NOTIFIER, "try_channel", timeout_s=_TEST_WITHIN_S, channel_id=channel.id)

    trial = in_house(work)
    if as_json:
        say({"name": name, **asdict(trial)})
    else:
        typer.echo(f"{name}: {'it arrived' if trial.ok else 'it did not arrive'} ({trial.took_s:.1f} s): {trial.words}")
    if not trial.ok:
        raise typer.Exit(Exit.PARTLY)


@app.command()
def rotate(
    name: Name,
    end_old: Annotated[bool, typer.Option("--end-old", help="No new secret: only the newest is valid from now on.")] = False,
    as_json: Json = False,
) -> None:
    """A new secret for a webhook. Messages are signed with the one before it too, until the next rotation or --end-old."""

    async def work(house: House) -> None:
        channel = await house.channel(name)
        secret = None if end_old else new_secret()
        await house.do(a.RotateSecret, channel_id=channel.id, signing_secret=secret)
        if as_json:
            say({"id": channel.id, "name": channel.name, "secret": secret})
        elif secret is None:
            typer.echo(f"{channel.name}: only the newest secret is valid now")
        else:
            typer.echo(
                f"{channel.name}: the new secret is {secret}\nthe old one is valid too, until: perenne channels rotate {name} --end-old"
            )

    in_house(work)


@app.command()
def remove(name: Name, as_json: Json = False) -> None:
    """Remove a channel, with those who hear over it and what is on its way."""

    async def work(house: House) -> None:
        channel = await house.channel(name)
        await house.do(a.DeleteChannel, channel_id=channel.id)
        say({"id": channel.id, "removed": True}) if as_json else typer.echo(f"{channel.name} is removed")

    in_house(work)


@app.command()
def subscribe(
    name: Name,
    events: Events = None,
    severity: Least = "warning",
    quiet: Quiet = None,
    time_zone: Zone = "UTC",
    level: Level = 0,
    as_json: Json = False,
) -> None:
    """Have a channel told of something more."""

    async def work(house: House) -> None:
        made = await _subscribe(house, await house.channel(name), events, severity, quiet, time_zone, level)
        say(asdict(made)) if as_json else typer.echo(f"{name}\n{_heard(made)}")

    in_house(work)


@app.command()
def unsubscribe(
    subscriber_id: Annotated[str, typer.Argument(help="As `perenne channels list` shows it.")], as_json: Json = False
) -> None:
    """Have it told no more; what is on its way to it goes too."""

    async def work(house: House) -> None:
        await house.do(a.DeleteSubscriber, subscriber_id=subscriber_id)
        say({"id": subscriber_id, "removed": True}) if as_json else typer.echo(f"{subscriber_id} hears nothing more")

    in_house(work)


async def _dead(house: House) -> list[Delivery]:
    """Oldest first."""
    found: list[Delivery] = []
    after: str | None = None
    while True:
        page: Page[Delivery] = await house.store.read("deliveries", state="dead", limit=100, after=after)
        found += page.items
        if (after := page.next) is None:
            return found[::-1]


def _one_line(each: Delivery, of: dict[str, str]) -> str:
    title = each.entries[0].title if each.entries else ""
    return f"{each.id}  {of.get(each.channel_id, each.channel_id)}  {moment(each.created_at)}  {title}  ({each.error})"


@app.command()
def dead(as_json: Json = False) -> None:
    """Messages that were given up after a day of tries."""

    async def work(house: House) -> None:
        channels: tuple[Channel, ...] = await house.store.read("channels")
        of = {each.id: each.name for each in channels}
        for each in await _dead(house):
            say(asdict(each)) if as_json else typer.echo(_one_line(each, of))

    in_house(work)


@app.command()
def resend(
    ids: Annotated[
        list[str] | None, typer.Argument(help="As `perenne channels dead` shows them; all of them without any.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send messages again that were given up, under the ids that they had."""

    async def work(house: House) -> None:
        for id in ids or [each.id for each in await _dead(house)]:
            made: Delivery = await house.do(a.RedeliverDelivery, delivery_id=id)
            say(asdict(made)) if as_json else typer.echo(f"{made.id} is on its way again")
        await house.directory.call(names.NOTIFIER, "wake", timeout_s=5.0)

    in_house(work)
