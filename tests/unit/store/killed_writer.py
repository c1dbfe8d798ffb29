"""A process that writes until it is killed, saying each answer it got: run by test_store_kill."""

import sys
import threading

from actors.store.mutants import Mutants
from actors.store.writer import WriterCore
from perenne.messages import commands as c


def main(url: str, mutant: str, sent: str) -> None:
    mutants = Mutants(answer_before_commit=mutant == "answer_before_commit", no_dedup=mutant == "no_dedup")
    core = WriterCore(url, mutants=mutants)
    core.open()
    speaking = threading.Lock()

    def caller(number: int) -> None:
        for n in range(100_000):
            name = f"{sent}-{number}-{n}"
            command = c.CreateUser(command_id=name, user_id=c.SYSTEM_USER, new_user_id=name, name=name)
            (outcome,) = core.submit((command,)).result(30)
            assert outcome.error is None, outcome.error
            with speaking:
                sys.stdout.write(name + "\n")
                sys.stdout.flush()

    for number in range(4):
        threading.Thread(target=caller, args=(number,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
