"""A process that sends what is in a home's outbox until it is killed: run by test_notifier_killed. It kills itself (-9) where it is told
to: once a message was sent, before that is written down."""

import asyncio
import os
import signal
import sys
from typing import Any

from actors.alerts.notifier import Notifier
from actors.alerts.notifier_bell import MemoryBell
from actors.alerts.outgoing import Sender
from actors.store.actor import StoreReader, StoreWriter
from perenne import names
from perenne.clock import SystemClock
from perenne.messages.alert_commands import FinishDelivery
from perenne.messages.commands import Command
from perenne.settings import load_settings
from perenne.store import Store
from perenne.testing import FakeDirectory


class Mortal(Store):
    """Dies before the `after`th message is written down as delivered."""

    after = 0

    async def write(self, command: Command, deadline_s: float = 30.0) -> Any:
        if isinstance(command, FinishDelivery):
            self.after -= 1
            if self.after == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return await super().write(command, deadline_s)


async def main(home: str, url: str, after: int) -> None:
    settings = load_settings({"PERENNE_HOME": home, "PERENNE_DATABASE_URL": url})
    directory = FakeDirectory()
    directory.put(names.STORE_WRITER, StoreWriter(names.STORE_WRITER, settings, directory))
    directory.put(names.store_reader(0), StoreReader(names.store_reader(0), settings, directory))
    store = Mortal(directory)
    store.after = after
    sender = Sender(settings.outgoing)
    await Notifier("Notifier", store, sender, MemoryBell(), SystemClock(), poll_s=0.1).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
