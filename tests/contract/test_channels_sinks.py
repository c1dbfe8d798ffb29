"""Messages to sinks that really listen: taken, refused, hung, slow, endless, redirecting, and where nothing may go at all."""

import asyncio
import functools
import json
import multiprocessing
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.alerts.channels.order import Order, Sent
from actors.alerts.channels.signature import new_secret, verify
from actors.alerts.outgoing import Sender
from perenne.settings import OutgoingSettings
from perenne.testing import eventually
from tests.contract.sinks import HttpSink, MailSink

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = new_secret()
HERE = ("127.0.0.1/32",)
LIMIT_S = 4.0


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    made = HttpSink()
    yield made
    made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sender() -> AsyncIterator[Sender]:
    """One that may reach this PC. The module's: to load Apprise takes seconds."""
    made = Sender(OutgoingSettings(allow=HERE), limit_s=LIMIT_S)
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict() -> AsyncIterator[Sender]:
    """One that may reach public addresses only."""
    made = Sender(OutgoingSettings(), limit_s=LIMIT_S)
    yield made
    await made.close()


def order(url: str, kind: Any = "webhook", **fields: Any) -> Order:
    given = {
        "key": "dlv_1",
        "at": time.time(),
        "title": "The disk is full",
        "text": "What to do: free some",
        "body": {"type": "t"},
    }
    return Order(kind=kind, url=url, secrets=(SECRET,), **(given | fields))


async def test_a_webhook_arrives_signed_with_its_key_in_header_and_body(sender: Sender, sink: HttpSink) -> None:
    sent = await sender.send(order(sink.url()))
    assert (sent.ok, sent.status) == (True, 200)
    (got,) = sink.got
    assert json.loads(got.body) == {"type": "t", "idempotency_key": "dlv_1"}
    assert (got.key, got.headers["webhook-id"]) == ("dlv_1", "dlv_1")
    assert verify(SECRET, got.headers, got.body, time.time())


@pytest.mark.parametrize(
    ("url", "words"),
    [("json://127.0.0.1:{}/ok", b'"title": "The disk is full"'), ("form://127.0.0.1:{}/ok", b"The+disk+is+full")],
)
async def test_apprise_sends_over_http_with_the_key(sender: Sender, sink: HttpSink, url: str, words: bytes) -> None:
    sent = await sender.send(order(url.format(sink.port), "apprise"))
    assert sent.ok, sent.words
    (got,) = sink.got
    assert got.key == "dlv_1"
    assert words in got.body


async def test_a_mail_arrives_by_apprise_with_the_key(sender: Sender) -> None:
    async with MailSink() as mails:
        url = f"mailto://127.0.0.1:{mails.port}?from=perenne@example.org&to=ana@example.org&mode=insecure"
        sent = await sender.send(order(url, "apprise"))
        assert sent.ok, sent.words
        (mail,) = mails.mails
        assert (mail["To"], mail["Subject"], mail["Idempotency-Key"]) == ("ana@example.org", "The disk is full", "dlv_1")
        assert "free some" in str(mail.get_payload(decode=True))
        mails.refuse = True
        assert not (await sender.send(order(url, "apprise"))).ok
        assert len(mails.mails) == 1


async def test_what_a_sink_answers_is_told_without_secrets(sender: Sender, sink: HttpSink) -> None:
    sink.status = 500
    sent = await sender.send(order(sink.url("/services/very-secret-token")))
    assert (sent.ok, sent.status, sent.unfit) == (False, 500, False)
    assert sent.words == "HTTP 500: sorry, token=***"
    sent = await sender.send(order(f"json://ana:very-secret-token@127.0.0.1:{sink.port}/x", "apprise"))
    assert not sent.ok
    assert "very-secret" not in sent.words
    assert "500" in sent.words
    sent = await sender.send(order(sink.url("/unfit")))
    assert (sent.status, sent.unfit) == (422, True)
    sent = await sender.send(order(sink.url("/later")))
    assert (sent.status, sent.retry_after_s) == (429, 77.0)


async def test_a_sink_that_never_ends_is_given_up_and_delays_no_other(sender: Sender, sink: HttpSink) -> None:
    await sender.send(order(sink.url()))
    began = time.monotonic()
    hung = asyncio.create_task(sender.send(order(sink.url("/hang"))))
    dripping = asyncio.create_task(sender.send(order(sink.url("/drip", scheme="json"), "apprise")))
    await eventually(lambda: len(sink.got) == 3)
    assert (await sender.send(order(sink.url()))).ok
    assert not hung.done()
    assert not dripping.done()
    for sent in (await hung, await dripping):
        assert not sent.ok
        assert f"no end within {LIMIT_S:g} s" in sent.words
    assert 0.9 * LIMIT_S < time.monotonic() - began < 3 * LIMIT_S


async def test_an_answer_without_end_is_not_read(sender: Sender, sink: HttpSink) -> None:
    assert (await sender.send(order(sink.url("/flood")))).ok  # the head said yes: its first words are enough
    sent = await sender.send(order(sink.url("/flood", scheme="json"), "apprise"))
    assert not sent.ok
    assert sent.took_s < LIMIT_S


@pytest.mark.parametrize("target", ["http://127.0.0.1:{}/ok", "http://169.254.169.254/latest/meta-data/"])
async def test_redirects_are_not_followed(sender: Sender, sink: HttpSink, target: str) -> None:
    sink.redirect_to = target.format(sink.port)
    sent = await sender.send(order(sink.url("/to")))
    assert not sent.ok
    assert "redirects are not followed" in sent.words
    sent = await sender.send(order(sink.url("/to?redirect=yes", scheme="json"), "apprise"))
    assert not sent.ok
    assert [got.path.partition("?")[0] for got in sink.got] == ["/to", "/to"]


NAMES = ("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]")


async def test_without_leave_nothing_is_connected_to_whatever_it_is_called(strict: Sender, sink: HttpSink) -> None:
    orders = [order(sink.url(host=host)) for host in NAMES]
    orders += [order(sink.url(host=host, scheme="json"), "apprise") for host in NAMES]
    orders += [
        order(f"mailto://{host}:{sink.port}?from=a@example.org&to=b@example.org&mode=insecure", "apprise") for host in NAMES
    ]
    for sent in await asyncio.gather(*(strict.send(each) for each in orders)):
        assert not sent.ok
    assert sink.got == []


async def test_a_refusal_says_what_to_allow(strict: Sender, sink: HttpSink) -> None:
    sent = await strict.send(order(sink.url(host="localhost")))
    assert "127.0.0.1 is not a public address" in sent.words
    assert "allow: [127.0.0.1/32]" in sent.words


def _rebound(url: str, answers: list[str]) -> tuple[str, list[str]]:
    """In a process of its own: a resolver that says another address each time it is asked; what was connected to."""
    from actors.alerts.channels import guard, webhook
    from actors.alerts.channels.addresses import Reach

    connected: list[str] = []
    sys.addaudithook(lambda event, given: connected.append(given[1][0]) if event == "socket.connect" else None)
    left = iter(answers)
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host == "rebinding.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(left, answers[-1]), port))]
        return real(host, port, *more, **named)

    socket.getaddrinfo = rebinding
    guard.install(Reach(("127.0.0.2/32",)))
    return webhook.send(order(url), None).words, connected


async def test_a_name_that_is_bound_anew_after_it_was_looked_at_gets_nowhere(sink: HttpSink) -> None:
    # 127.0.0.2 stands for a public address: nobody listens there. The sink is at 127.0.0.1, which is not allowed.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        ask = functools.partial(pool.apply_async, _rebound)
        url = sink.url(host="rebinding.example")
        words, connected = await asyncio.to_thread(ask((url, ["127.0.0.2", "127.0.0.1"])).get)
        assert connected == ["127.0.0.2"]
        assert "refused" in words
        words, connected = await asyncio.to_thread(ask((url, ["127.0.0.1", "127.0.0.2"])).get)
        assert connected == []
        assert "127.0.0.1 is not a public address" in words
    assert sink.got == []


async def test_a_socket_of_any_other_kind_is_refused(sender: Sender) -> None:
    for url in ("syslog://", "dbus://", "rsyslog://10.0.0.1"):
        sent = await sender.send(order(url, "apprise"))
        assert not sent.ok, url


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """One of this test's own for 127.0.0.1, which nobody trusts, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    built = (
        built.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
    )
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made, private = folder / "sink.pem", folder / "sink.key"
    made.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, private)
    return made, context


async def test_a_certificate_that_nobody_vouches_for_is_refused_but_the_owners_own_is_trusted(
    sender: Sender, tmp_path: Path
) -> None:
    made, context = _certificate(tmp_path)
    sink = HttpSink(context)
    orders = (order(sink.url(scheme="https")), order(sink.url(scheme="jsons"), "apprise"))
    own = Sender(OutgoingSettings(allow=HERE, ca_file=str(made)), limit_s=LIMIT_S)
    try:
        for each in orders:
            sent = await sender.send(each)
            assert not sent.ok
            assert "certificate verify failed" in sent.words
        assert sink.got == []
        for each in orders:
            sent = await own.send(each)
            assert sent.ok, sent.words
        assert len(sink.got) == 2
    finally:
        await own.close()
        sink.close()


async def test_certificates_are_verified_and_cannot_be_waived(sender: Sender) -> None:
    sent = await sender.send(order("jsons://127.0.0.1:1/x?verify=no", "apprise"))
    assert "always verified" in sent.words


async def test_a_sender_that_dies_is_started_anew_and_what_it_had_in_hand_has_failed(sender: Sender, sink: HttpSink) -> None:
    await sender.send(order(sink.url()))
    hung = asyncio.create_task(sender.send(order(sink.url("/hang"))))
    await eventually(lambda: len(sink.got) == 2)
    assert sender.pid is not None
    os.kill(sender.pid, signal.SIGKILL)
    sent = await hung
    assert sent == Sent(ok=False, words="the process that sends ended")
    assert (await sender.send(order(sink.url()))).ok


async def test_what_was_loaded_for_messages_is_let_go_of_after_a_while(sink: HttpSink) -> None:
    sender = Sender(OutgoingSettings(allow=HERE), limit_s=LIMIT_S, rest_s=0.2)
    assert sender.pid is None
    await sender.send(order(sink.url()))
    assert sender.pid is not None
    await eventually(lambda: sender.pid is None)
    assert (await sender.send(order(sink.url()))).ok
    await sender.close()
