"""Mailboxes (MBOX): every message a section under its subject, in the order of the file."""

from collections.abc import Iterator
from email.errors import MessageError

from actors.ingest.formats.mail import add_message, header, message_of
from actors.ingest.parsed import Parsed, Refused, too_many_pages
from actors.ingest.source import Source

_LINE_BYTES_MAX = 1 << 20  # of one line: a longer one is read in pieces


def _messages(source: Source) -> Iterator[bytes]:
    """The bytes of each: it begins at a line `From ` after a blank one, the first one's aside."""
    held: list[bytes] = []
    blank = True
    with source.path.open("rb") as file:
        while line := file.readline(_LINE_BYTES_MAX):
            if blank and line.startswith(b"From "):
                if any(held):
                    yield b"".join(held)
                held = []
            else:
                held.append(line[1:] if line.startswith(b">From ") else line)
            blank = not line.strip()
    if any(held):
        yield b"".join(held)


def parse(source: Source) -> Parsed:
    """A mailbox of Thunderbird, Mail or `mail`. A message that can't be read is left out; none at all is a refusal."""
    builder = source.builder()
    limit = source.caps.entries_max
    size, done = source.path.stat().st_size, 0
    for number, content in enumerate(_messages(source), 1):
        if number > limit:
            raise too_many_pages(number, "messages and more", limit)
        try:
            message = message_of(content)
            builder.heading(header(message, "Subject") or f"Message {number}", 1)
            add_message(builder, message)
        except (MessageError, ValueError, TypeError, AttributeError, LookupError):
            continue
        done += len(content)
        source.progress(done, size)
    if builder.characters == 0:
        raise Refused("empty", "there is no message in it")
    return builder.build("application/mbox")
