"""Who can reach the edge: itself alone, or other computers; and what its owner has to say to that before it starts."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping

from cluster.findings import Finding, fine, program
from perenne.hosts import is_loopback
from perenne.settings import Settings

CONFIRMED = "PERENNE_CONFIRMED_HOST"  # what was typed before the root was detached; believed of a detached root only
BEHIND_PROXY = "--behind-tls-proxy"


def needs_consent(settings: Settings, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether starting would let others in over plain HTTP, and nobody has said yet that this is meant."""
    if is_loopback(settings.host) or settings.edge.behind_tls_proxy:
        return False
    return not (environment.get("PERENNE_DETACHED") and environment.get(CONFIRMED) == settings.host)


def consents(settings: Settings, ask: Callable[[str], str] | None) -> bool:
    """Whether the owner types the address after having read what it means. `ask` None: nobody is there to ask; what would help is
    said instead."""
    where = f"{settings.host}, port {settings.port},"
    meaning = f"{where} is open to other computers, and over plain HTTP keys and documents can be read on the way"
    behind = f"{program()} up {BEHIND_PROXY}"
    if ask is None:
        _tell(
            f"{meaning}; type: {behind}   (with a proxy that speaks TLS before it, or a container's port published on loopback)"
        )
        _tell(f"without one, in a terminal: {program()} up --host {settings.host}   and the address once more when it asks")
        return False
    _tell(f"{meaning}.")
    _tell(f"With a proxy that speaks TLS before it: {behind}. To stay on this computer: {program()} up --host 127.0.0.1")
    if ask(f"To start it all the same, type the address ({settings.host}): ").strip() == settings.host:
        return True
    _tell(f"that was not {settings.host}: nothing was started; type: {program()} up --host 127.0.0.1")
    return False


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def asker() -> Callable[[str], str] | None:
    """Asks whoever sits at the terminal; None when nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()

    return ask


def exposure(settings: Settings, running: bool) -> Iterator[Finding]:
    """Whether others can reach the edge, and whether a proxy before it would get through."""
    names = [name for name in settings.edge.hosts if name]
    if not is_loopback(settings.host) and not settings.edge.behind_tls_proxy:
        yield Finding(
            about="exposure",
            level="warns",
            sentence=f"{settings.host} is open to other computers, over plain HTTP: keys and documents can be read on the way.",
            remedy=f"Behind a TLS proxy: {program()} up {BEHIND_PROXY}. For this computer alone: {program()} up --host 127.0.0.1",
        )
    elif settings.edge.behind_tls_proxy and not names:
        yield Finding(
            about="exposure",
            level="warns",
            sentence="It is said to be behind a TLS proxy, but edge.hosts lists no name by which that may be called.",
            remedy=f"In {settings.path('config.yaml')}: edge: {{hosts: [perenne.example.org]}}",
        )
    elif settings.edge.behind_tls_proxy:
        yield fine("exposure", f"{settings.host} is behind a TLS proxy, called {', '.join(names)}")
    else:
        yield fine("exposure", f"{settings.host} is reached from this computer alone")
