"""`perenne channels`, as it is typed, over the socket files of the store and of the Notifier."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.alerts import notifier_pace
from actors.alerts.channel_commands import app
from actors.alerts.channels.signature import verify
from actors.alerts.notifier_actor import Notifier
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.line_owner import LineOwner
from perenne.messages import alert_commands as a
from perenne.messages import commands as c
from perenne.settings import Settings, load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory
from tests.contract.sinks import HttpSink

READS = ("channels", "subscribers", "deliveries", "channel_secret", "next_delivery_at")


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    made = HttpSink()
    yield made
    made.close()


class Home:
    """An instance's owners of messages, and a person who types."""

    def __init__(self, settings: Settings) -> None:
        self.directory = FakeDirectory()
        self.owners: list[Any] = [
            StoreWriter(names.STORE_WRITER, settings, self.directory),
            StoreReader(names.store_reader(0), settings, self.directory),
            Notifier(names.NOTIFIER, settings, self.directory),
        ]
        methods = (("submit",), READS, ("try_channel", "wake"))
        folder = Path(settings.ray_dir, "lines", "node")
        Path(settings.ray_dir).mkdir(mode=0o700)
        for name, owner, said in zip(
            (names.STORE_WRITER, names.store_reader(0), names.NOTIFIER), self.owners, methods, strict=True
        ):
            self.directory.put(name, owner)
            LineOwner(name, owner, frozenset(said), folder).begin()
        settings.path("run").mkdir(exist_ok=True)
        settings.path("run", "instance.json").write_text("{}")
        asyncio.run(self.do(c.CreateUser, c.SYSTEM_USER, new_user_id=c.OWNER, name="owner"))

    async def do(self, kind: type[c.Command], /, user_id: str = c.OWNER, **fields: Any) -> Any:
        id = f"cmd-{kind.__name__}-{len(self.directory.calls)}"
        return await Store(self.directory).write(kind(command_id=id, user_id=user_id, **fields), deadline_s=60.0)

    def types(self, *words: str, exit: int = 0, given: str | None = None) -> str:
        done = CliRunner().invoke(app, words, input=given)
        assert done.exit_code == exit, (words, done.output, done.exception)
        return done.stdout

    def told(self, *words: str, exit: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.types(*words, "--json", exit=exit).splitlines()]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    (tmp_path / "config.yaml").write_text("outgoing: {allow: [127.0.0.1/32]}\n")
    monkeypatch.setenv("PERENNE_HOME", str(tmp_path))
    for name in ("PERENNE_DATABASE_URL", "PERENNE_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings()
    made = Home(settings)
    yield made
    for name in (names.STORE_WRITER, names.store_reader(0)):
        made.directory.kill(name)
    for owner in made.owners[:2]:
        asyncio.run(owner.close())
    shutil.rmtree(settings.ray_dir)


def _until(check: Callable[[], bool], within_s: float = 30.0) -> None:
    """As `eventually`, for checks that type commands, each of which runs a loop of its own."""
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_channel_is_added_tried_rotated_and_removed(home: Home, sink: HttpSink) -> None:
    assert "nobody is told of anything yet" in home.types("list")
    url = sink.url("/ok/very-secret-token")
    (made,) = home.told("add", "desk", url, "--webhook", "--severity", "info", "--event", "backup.*", "--quiet", "22:00-07:00")
    assert "very-secret" not in json.dumps(made)
    (listed,) = home.told("list")
    assert listed["address"] == f"http://127.0.0.1:{sink.port}/…"
    (heard,) = listed["subscribers"]
    assert (heard["severity"], heard["events"], heard["quiet_from"]) == ("info", ["backup.*"], "22:00")

    (trial,) = home.told("test", "desk")
    assert (trial["ok"], trial["status"], trial["words"]) == (True, 200, "HTTP 200: thanks")
    (got,) = sink.got
    assert verify(made["secret"], got.headers, got.body, got.at)
    assert json.loads(got.body)["data"]["title"] == "Perenne: A test: this channel works"
    sink.status = 500
    assert "it did not arrive" in home.types("test", "desk", exit=1)

    sink.status = 200
    (new,) = home.told("rotate", "desk")
    home.types("test", "desk")
    assert all(
        verify(secret, sink.got[-1].headers, sink.got[-1].body, sink.got[-1].at) for secret in (made["secret"], new["secret"])
    )
    home.types("rotate", "desk", "--end-old")
    home.types("test", "desk")
    assert not verify(made["secret"], sink.got[-1].headers, sink.got[-1].body, sink.got[-1].at)
    assert verify(new["secret"], sink.got[-1].headers, sink.got[-1].body, sink.got[-1].at)

    (more,) = home.told("subscribe", "desk", "--severity", "critical", "--level", "1")
    assert more["id"] in home.types("list")
    home.types("unsubscribe", more["id"])
    home.types("remove", "desk")
    assert home.told("list") == []


def test_what_was_given_up_is_listed_and_sent_again_under_its_id(
    home: Home, sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_pace, "UNFIT_TRIES", 1)  # not after minutes
    home.types("add", "desk", sink.url(), "--webhook")
    (channel,) = home.told("list")
    sink.status = 422
    asyncio.run(home.do(a.TestAlert, alert_id="alr_1", channel_id=channel["id"]))
    _until(lambda: len(home.told("dead")) == 1)
    (dead,) = home.told("dead")
    assert dead["error"].startswith("HTTP 422")
    assert dead["id"] in home.types("dead")
    sink.status = 200
    (again,) = home.told("resend")
    assert (again["id"], again["state"]) == (dead["id"], "pending")
    _until(lambda: len(sink.got) == 2)
    assert [got.key for got in sink.got] == [dead["id"]] * 2
    assert home.told("dead") == []


@pytest.mark.parametrize(
    ("words", "exit", "said"),
    [
        (("test", "nowhere"), 6, "no channel 'nowhere'"),
        (("add", "x", "https://hooks.example/very-secret-token"), 7, "expected an address as Apprise has them"),
        (("add", "x", "ftp://example.org/very-secret-token", "--webhook"), 7, "expected https://HOST/PATH"),
        (
            ("add", "x", "https://a.example/very-secret-token", "--webhook", "--severity", "loud"),
            7,
            "severity: expected one of",
        ),
        (("add", "x", "https://a.example/very-secret-token", "--webhook", "--quiet", "always"), 7, "expected hours such as"),
        (("add", "x", "json://a.example/very-secret-token?verify=no"), 7, "always verified"),
        (("add", "x", "mailto://a.example?from=a@b.example&to=c@d.example,very-secret@d.example"), 7, "expected one recipient"),
        (
            ("add", "x", "mailto://a.example?from=a@b.example&to=c@d.example&bcc=very-secret@d.example"),
            7,
            "expected one recipient",
        ),
        (("add", "x", "ntfys://ntfy.example/very-secret-topic/another"), 7, "expected one recipient"),
        (("resend", "dlv_none"), 6, "no delivery"),
    ],
)
def test_what_is_wrong_is_said_without_the_address(home: Home, words: tuple[str, ...], exit: int, said: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == exit, done.output
    assert said in done.stderr.partition("; type:")[0]
    assert "very-secret" not in done.stderr
    assert home.told("list") == []
