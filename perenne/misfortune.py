"""Faults on order, for tests of supervision: a file HOME/run/misfortune/NAME says what befalls the child of that name. Inert unless
`settings.chaos` is set.

`exit 3` and `signal 11`: its process ends that way each time it is told to go. `grow 100000000`: at its next sign of life it takes that many
bytes and keeps them; the file is gone then, so that the next process of that name does not.
"""

import os

from perenne.settings import Settings

_hoard: list[bytearray] = []


def _order(name: str, settings: Settings) -> list[str]:
    try:
        return settings.path("run", "misfortune", name).read_text().split()
    except OSError:
        return []


def at_go(name: str, settings: Settings) -> None:
    """The child may recover now."""
    if not settings.chaos:
        return
    match _order(name, settings):
        case ["exit", code]:
            os._exit(int(code))
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
        case _:
            pass


def at_health(name: str, settings: Settings) -> None:
    """The child gives a sign of life."""
    if not settings.chaos:
        return
    match _order(name, settings):
        case ["grow", size]:
            settings.path("run", "misfortune", name).unlink(missing_ok=True)
            _hoard.append(bytearray(os.urandom(1 << 20)) * (int(size) >> 20))  # pages that are written, so that they count
        case _:
            pass
