"""Perenne: a private assistant that answers from your own documents and never loses what it acknowledged.

`connect()` reaches the instance of this PC over actor handles, `connect("http://…", key=…)` any instance over HTTP.
"""

from perenne.api import Answer, Perenne
from perenne.client import connect

__all__ = ["Answer", "Perenne", "__version__", "connect"]

__version__ = "0.1.0"
