"""What goes out on a socket: in order, at once while its connection takes it, bounded while it does not."""

import asyncio
from typing import Any

from perenne.testing import eventually
from serve.outbox import Item, Outbox


class Connection:
    """Takes messages while its gate is open."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.tasks: list[Any] = []  # in which each message was written

    async def send(self, item: Item) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.taken.append(item.seq)
        self.tasks.append(asyncio.current_task())


class Counted:
    def __init__(self) -> None:
        self.went: list[int] = []

    def went_out(self, item: Item) -> None:
        self.went.append(item.seq)


def item(seq: int, text: str = "x") -> Item:
    return Item(text, seq)


async def test_a_message_goes_out_at_once_and_wakes_no_task_while_the_connection_takes_it() -> None:
    connection, sender = Connection(), Counted()
    outbox = Outbox(connection.send, 2, 100)
    for seq in range(5):
        assert outbox.offer(item(seq), sender)
        assert (connection.taken, sender.went) == (list(range(seq + 1)),) * 2
    assert set(connection.tasks) == {asyncio.current_task()}


async def test_what_the_connection_does_not_take_waits_bounded_and_goes_out_in_order() -> None:
    connection, sender = Connection(), Counted()
    outbox = Outbox(connection.send, 2, 100)
    connection.gate.clear()
    assert [outbox.offer(item(seq), sender) for seq in range(4)] == [True, True, True, False]  # one is being written, two wait
    assert outbox.sending_since is not None
    assert sender.went == []
    last = asyncio.create_task(outbox.put(item(4), sender))
    await asyncio.sleep(0)
    assert not last.done()
    connection.gate.set()
    await last
    await eventually(lambda: outbox.sending_since is None)
    assert connection.taken == sender.went == [0, 1, 2, 4]
    assert outbox.offer(item(5), sender)
    assert connection.taken[-1] == 5


async def test_what_waits_is_bounded_in_bytes_but_for_a_single_message() -> None:
    connection = Connection()
    outbox = Outbox(connection.send, 10, 100)
    connection.gate.clear()
    assert [outbox.offer(item(seq, "x" * 300)) for seq in range(3)] == [True, True, False]
    await outbox.close()


async def test_at_the_end_nothing_goes_out_and_nobody_waits_for_room() -> None:
    connection, sender = Connection(), Counted()
    outbox = Outbox(connection.send, 1, 100)
    connection.gate.clear()
    assert outbox.offer(item(0), sender)
    assert outbox.offer(item(1), sender)
    waiting = asyncio.create_task(outbox.put(item(2), sender))
    await asyncio.sleep(0)
    await outbox.close()
    await asyncio.wait_for(waiting, 5)
    connection.gate.set()
    assert outbox.offer(item(3), sender)
    await outbox.close()
    assert connection.taken == sender.went == []


async def test_a_connection_that_is_gone_ends_the_outbox_and_hurts_nobody_who_offers() -> None:
    """An error that a send raised into the channel would end it for all of its sockets."""
    for waits in (False, True):
        connection = Connection()
        outbox = Outbox(connection.send, 10, 100)
        connection.failure = OSError("gone")
        if waits:
            connection.gate.clear()
        assert outbox.offer(item(0))
        connection.gate.set()
        await asyncio.wait_for(asyncio.shield(outbox.over), 5)
        assert outbox.offer(item(1))
        assert connection.taken == []
