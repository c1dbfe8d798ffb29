"""E-mail as a file (EML): who, when, what about, and the text; attachments by name."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from actors.ingest.formats.html import add_html, decode_html
from actors.ingest.formats.text import add_plain, decode
from actors.ingest.parsed import Builder, Parsed, Refused
from actors.ingest.source import Source

_SHOWN = ("From", "To", "Cc", "Date", "Subject")


def _payload(part: EmailMessage) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _add_body(builder: Builder, message: EmailMessage) -> None:
    """The plain text where there is some, else the page."""
    leaves = [p for p in message.walk() if not p.is_multipart() and p.get_content_disposition() != "attachment"]
    for wanted in ("text/plain", "text/html"):
        before = builder.characters
        for part in (p for p in leaves if p.get_content_type() == wanted):
            charset = part.get_content_charset()
            if wanted == "text/plain":
                add_plain(builder, decode(_payload(part), charset))
            else:
                add_html(builder, decode(_payload(part), charset) if charset else decode_html(_payload(part)))
        if builder.characters > before:
            return


def header(message: EmailMessage, name: str) -> str:
    """A header's text; a malformed one (the library raises) as it stands in the file."""
    try:
        return str(message.get(name) or "")
    except (ValueError, TypeError, IndexError, AttributeError):
        return next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")


def message_of(content: bytes) -> EmailMessage:
    """The library's message."""
    return cast("EmailMessage", message_from_bytes(content, policy=policy.default))


def add_message(builder: Builder, message: EmailMessage) -> None:
    """Its heads, its text, and the names of what hangs on it."""
    heads = [f"{name}: {value}" for name in _SHOWN if (value := header(message, name))]
    builder.add("\n".join(heads), kind="lines")
    _add_body(builder, message)
    names = [name for part in message.walk() if (name := part.get_filename())]
    if names:
        builder.add("\n".join(f"Attachment: {name}" for name in names), kind="lines")


def parse(source: Source) -> Parsed:
    """A message."""
    message = message_of(source.read())
    builder = source.builder()
    add_message(builder, message)
    if builder.characters == 0:
        raise Refused("empty", "there is no text in the message")
    return builder.build("message/rfc822", title=header(message, "Subject") or None)
