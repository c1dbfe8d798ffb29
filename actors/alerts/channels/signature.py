"""Signatures of webhooks, as Standard Webhooks has them (https://www.standardwebhooks.com, version 1, symmetric)."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

from perenne.errors import InvalidRequest

PREFIX = "whsec_"
TOLERANCE_S = 300.0  # how far a receiver lets the timestamp be off
_BYTES = (24, 64)  # of a secret, as the standard bounds it


def new_secret() -> str:
    """A secret of 256 bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret. InvalidRequest when it is none; what came is not repeated."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not _BYTES[0] <= len(key) <= _BYTES[1]:
        raise InvalidRequest(
            f"secret: expected {PREFIX} and {_BYTES[0]} to {_BYTES[1]} bytes in base64, got something else", "secret"
        )
    return key


def _signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


def signed_headers(secrets: Sequence[str], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; a signature by each secret that is valid now, so that a receiver may have any of them."""
    if not secrets:
        raise InvalidRequest("a webhook needs a secret to be signed with", "secret")
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, id, timestamp, body) for secret in secrets),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """What a receiver does: whether one of the signatures is by this secret, and the message is not old."""
    try:
        id, timestamp, given = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        at = int(timestamp)
    except (KeyError, ValueError):
        return False
    if abs(now - at) > TOLERANCE_S:
        return False
    wanted = _signature(secret, id, at, body)
    return any(hmac.compare_digest(wanted, each) for each in given.split())
