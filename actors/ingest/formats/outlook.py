"""Outlook's messages (MSG), by oxmsg: who, when, what about, and the text; attachments by name."""

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from email.header import decode_header, make_header
from typing import Any

from actors.ingest.formats.html import add_html
from actors.ingest.formats.text import add_plain
from actors.ingest.parsed import Builder, Parsed, Refused
from actors.ingest.source import Source

_PEOPLE_MAX = 200
_ENCODED = re.compile(
    r"=\?[^?\s]+\?[bq]\?[^?\s]*\?=", re.IGNORECASE
)  # of RFC 2047: how a name of other letters came over the wire


def _said(things: Iterable[Any], say: Callable[[Any], str | None]) -> Iterator[str]:
    """What can be said of each; one that lacks what the format asks for costs only itself."""
    for thing in things:
        try:
            text = say(thing)
        except (KeyError, ValueError, AttributeError, struct.error):
            continue
        if text:
            yield text


def _decoded(text: str) -> str:
    """Encoded words as what they stand for; one that is broken stays as it is."""

    def one(found: re.Match[str]) -> str:
        try:
            return str(make_header(decode_header(found.group())))
        except (LookupError, ValueError):
            return found.group()

    return _ENCODED.sub(one, text)


def _people(message: Any) -> str:
    return ", ".join(_said(message.recipients[:_PEOPLE_MAX], lambda person: f"{person.name} <{person.email_address}>"))


def _html(message: Any) -> str:
    try:
        return message.html_body or ""
    except (UnicodeDecodeError, LookupError):  # it names one encoding and is in another
        return ""


def _add_body(builder: Builder, message: Any) -> None:
    """The plain text where there is some, else the page."""
    plain = message.body or ""
    if plain.strip():
        add_plain(builder, plain)
    else:
        add_html(builder, _html(message))


def parse(source: Source) -> Parsed:
    """A message that was dragged out of Outlook."""
    from oxmsg import Message

    with source.path.open("rb") as file:
        message = Message.load(file)
    builder = source.builder()
    sent = message.sent_date
    heads = {
        "From": _decoded(message.sender or ""),
        "To": _people(message),
        "Date": sent.isoformat(sep=" ", timespec="minutes") if sent else "",
        "Subject": message.subject,
    }
    builder.add("\n".join(f"{name}: {value}" for name, value in heads.items() if value), kind="lines")
    _add_body(builder, message)
    attached = _said(message.attachments, lambda each: each.file_name)
    builder.add("\n".join(f"Attachment: {name}" for name in attached), kind="lines")
    if builder.characters == 0:
        raise Refused("empty", "there is no text in the message")
    return builder.build("application/vnd.ms-outlook", title=message.subject or None)
