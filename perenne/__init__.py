"""Perenne: a private assistant that answers from your own documents and never loses what it acknowledged.

`connect()` reaches the instance of this PC over actor handles, `connect("http://…", key=…)` any instance over HTTP.
`connect_sync()` is the same for code that is not async.
"""

from perenne.api import Answer, Perenne
from perenne.blocking import SyncPerenne
from perenne.client import connect, connect_sync

__all__ = ["Answer", "Perenne", "SyncPerenne", "__version__", "connect", "connect_sync"]

__version__ = "0.1.0"
