"""Identifiers: a readable prefix and a UUID version 7, so that they sort by time of birth."""

import uuid_utils


def new_id(prefix: str) -> str:
    """A fresh identifier such as ``doc_0193c5…``: prefix, underscore, 32 hexadecimal digits."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"
