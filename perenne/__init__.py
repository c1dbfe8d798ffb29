"""Perenne: a private assistant that answers from your own documents and never loses what it acknowledged.

`connect()` reaches the instance of this PC over actor handles, `connect("http://…", key=…)` any instance over HTTP.
`connect_sync()` is the same for code that is not async.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perenne.api import Answer, Perenne
    from perenne.blocking import SyncPerenne
    from perenne.client import connect, connect_sync

__all__ = ["Answer", "Perenne", "SyncPerenne", "__version__", "connect", "connect_sync"]

__version__ = "0.1.0"

_FROM = {"Answer": "api", "Perenne": "api", "SyncPerenne": "blocking", "connect": "client", "connect_sync": "client"}


def __getattr__(name: str) -> Any:
    """Loaded when first asked for: every module below this one, and each press of Tab in a shell, pays for this one."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"perenne.{_FROM[name]}"), name)
