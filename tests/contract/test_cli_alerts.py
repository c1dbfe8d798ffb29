"""`perenne alerts`, as it is typed, over the socket files of the store."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.alerts.alert_commands import app
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.cli.troubles import Exit
from perenne.ids import new_id
from perenne.line_owner import LineOwner
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.settings import Settings, load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory

READS = ("alerts", "open_alerts", "silences", "channels", "deliveries")


class Person:
    """Types, and knows the store behind."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder

    def says(self, *words: str, ends: int = 0) -> str:
        found = CliRunner().invoke(app, list(words))
        assert found.exit_code == ends, found.output
        return found.output

    def lines(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.says(*words, "--json").splitlines()]


def furnished(settings: Settings) -> Path:
    """What a command looks for in a home; where its owners' sockets are."""
    Path(settings.ray_dir).mkdir(mode=0o700)
    settings.path("run").mkdir()
    settings.path("run", "instance.json").write_text("{}")
    return Path(settings.ray_dir, "lines", "node")


@pytest.fixture
async def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path))
    settings, directory = load_settings(), FakeDirectory()
    folder = furnished(settings)
    writer = StoreWriter(names.STORE_WRITER, settings, directory)
    reader = StoreReader(names.store_reader(0), settings, directory)
    for name, owner, methods in ((names.STORE_WRITER, writer, ("submit",)), (names.store_reader(0), reader, READS)):
        directory.put(name, owner)
        LineOwner(name, owner, frozenset(methods), folder).begin()
    store = Store(directory)
    await store.write(c.CreateUser(command_id="u", user_id=c.SYSTEM_USER, new_user_id=c.OWNER, name="owner"))
    fields = {"name": "mail", "kind": "apprise", "url": "mailto://ana:secret@example.org", "address": "mailto://…"}
    await store.write(a.CreateChannel(command_id="c", user_id=c.OWNER, channel_id="chn_1", **fields))
    await store.write(
        a.CreateSubscriber(command_id="s", user_id=c.OWNER, subscriber_id="sub_1", name="mail", channel_id="chn_1")
    )
    yield Person(store, folder)
    await writer.close()
    shutil.rmtree(settings.ray_dir)


async def fire(person: Person, id: str, **fields: Any) -> None:
    given = {
        "fingerprint": id,
        "severity": "critical",
        "event": "disk.full",
        "title": "The disk is full",
        "advice": "Free some",
    }
    await person.store.write(a.RaiseAlert(command_id=f"raise-{id}", user_id=c.SYSTEM_USER, alert_id=id, **(given | fields)))


async def typed(person: Person, *words: str, ends: int = 0) -> str:
    """In a thread: the owners answer in their own loops meanwhile."""
    return await asyncio.to_thread(person.says, *words, ends=ends)


async def typed_json(person: Person, *words: str) -> list[dict[str, Any]]:
    return await asyncio.to_thread(person.lines, *words)


async def test_alerts_are_listed_acknowledged_silenced_and_tried_from_the_command_line(person: Person) -> None:
    assert "all is well" in await typed(person, "list")
    assert await typed_json(person, "list") == []
    await fire(person, "alr_1", labels={"subject": "home"})
    shown = await typed(person, "list")
    assert "critical  The disk is full" in shown
    assert "Free some" in shown
    (seen,) = await typed_json(person, "ack", "alr_1", "--by", "Ana")
    assert seen["acknowledged_by"] == "Ana"
    assert "acknowledged by Ana" in await typed(person, "list")

    (made,) = await typed_json(person, "silence", "--label", "subject=home", "--for", "2h", "--reason", "moving files")
    assert (await typed_json(person, "list"))[0]["silenced_by"] == made["id"]
    assert [each["id"] for each in await typed_json(person, "silences")] == [made["id"]]
    assert "moving files" in await typed(person, "silences")
    await typed(person, "unsilence", made["id"])
    assert await typed_json(person, "silences") == []

    assert "is on its way; the Notifier is away" in await typed(person, "test")
    await typed(person, "test", "mail")
    rows = (await person.store.read("deliveries")).items
    assert [(row.subscriber_id, row.entries[0].transition) for row in reversed(rows)] == [
        ("sub_1", "firing"), (  "sub_1", "test"), (None, "test"),
    ]  # fmt: skip
    await person.store.write(a.ResolveAlert(command_id="over", user_id=c.SYSTEM_USER, alert_id="alr_1"))
    assert await typed_json(person, "list") == []
    assert {each["state"] for each in await typed_json(person, "list", "--all")} == {"resolved"}


class SendingNotifier:
    """Woken, it ends what is in the outbox, as said."""

    def __init__(self, store: Store, error: str | None) -> None:
        self.store, self.error = store, error

    async def wake(self) -> None:
        given = {"worker": "w", "limit": 10, "lease_s": 30.0, "per_channel": 10}
        for one in await self.store.write(a.LeaseDeliveries(command_id=new_id("cmd"), user_id=c.SYSTEM_USER, **given)):
            held = {"delivery_id": one.id, "lease_token": one.lease_token}
            if self.error is None:
                await self.store.write(a.FinishDelivery(command_id=new_id("cmd"), user_id=c.SYSTEM_USER, **held))
            else:
                failed = {"error": self.error, "retry_in_s": 60.0} | held
                await self.store.write(a.FailDelivery(command_id=new_id("cmd"), user_id=c.SYSTEM_USER, **failed))


@pytest.mark.parametrize(
    ("error", "said"), [(None, "mail: taken"), ("no such host", "mail: not taken, no such host; it is tried again")]
)
async def test_a_test_says_what_came_back(person: Person, error: str | None, said: str) -> None:
    notifier = SendingNotifier(person.store, error)
    LineOwner(names.NOTIFIER, notifier, frozenset({"wake"}), person.folder).begin()
    assert said in await typed(person, "test", ends=0 if error is None else Exit.PARTLY)


async def test_a_test_that_nobody_hears_says_so(person: Person) -> None:
    await person.store.write(a.DeleteSubscriber(command_id="d", user_id=c.OWNER, subscriber_id="sub_1"))
    assert "perenne channels add" in await typed(person, "test", ends=Exit.PARTLY)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("silence", "disk.*", "--for", "long"), "expected a length of time such as 30m, 2h or 1d, got 'long'"),
        (("silence", "--label", "home"), "expected NAME=VALUE"),
        (("silence",), "says what it keeps quiet"),
        (("ack", "alr_none"), "alr_none"),
        (("unsilence", "sil_none"), "sil_none"),
        (("test", "pager"), "pager"),
    ],
)
async def test_what_makes_no_sense_is_said_in_words(person: Person, words: tuple[str, ...], said: str) -> None:
    found = await asyncio.to_thread(CliRunner().invoke, app, list(words))
    assert found.exit_code not in (0, Exit.PARTLY)
    assert said in found.output + found.stderr
