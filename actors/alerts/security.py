"""What bears on who may come in, as signals: keys that were made or revoked, and from where the edge can be reached. Pure."""

from perenne.hosts import is_loopback
from perenne.messages.alerts import Signal
from perenne.messages.records import Key
from perenne.settings import Settings

KEYS_WINDOW_S = 3_600.0  # a key that was made or revoked within it is news
OF_KEYS = ("key.created", "key.revoked")


def key_signals(keys: tuple[Key, ...], now: float) -> tuple[Signal, ...]:
    """Of each key its making, 2 of one that may do everything, and its end."""
    found: list[Signal] = []
    for key in keys:
        may = ", ".join(key.scopes)
        reach = "" if key.project_id is None else ", in one project"
        named = f'The key "{key.label}" ({key.id})' if key.label else f"The key {key.id}"
        if 0 <= now - key.created_at < KEYS_WINDOW_S:
            detail = f"{named} of {key.user_id} may {may}{reach}."
            found.append(Signal(name="key.created", subject=key.id, value=2.0 if "admin" in key.scopes else 1.0, detail=detail))
        if key.revoked_at is not None and 0 <= now - key.revoked_at < KEYS_WINDOW_S:
            detail = f"{named} of {key.user_id} opens nothing any more."
            found.append(Signal(name="key.revoked", subject=key.id, value=1.0, detail=detail))
    return tuple(found)


def edge_signal(settings: Settings) -> Signal:
    """0: reached from this PC alone; 1: from others, behind a proxy that speaks TLS; 2: from others, over plain HTTP."""
    where = f"It listens on {settings.host}, port {settings.port}."
    if is_loopback(settings.host):
        return Signal(name="edge.open", value=0.0)
    return Signal(name="edge.open", value=1.0 if settings.edge.behind_tls_proxy else 2.0, detail=where)
