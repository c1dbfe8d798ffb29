"""How an object's bytes are kept: with a checksum, or encrypted under the repository's key.

Either way the bytes are bound to what they are and to their name (`label`), so that one object can't stand in for another,
and a single flipped bit anywhere is found before anything is believed."""

import hashlib
import hmac
import os
from typing import Protocol

from perenne.errors import BackupDamaged

_CHECKSUM_BYTES = 16
_NONCE_BYTES = 12
_PLAIN, _SEALED = b"p", b"e"


class Seal(Protocol):
    """What turns bytes into an object's bytes and back."""

    encrypted: bool

    def piece_id(self, data: bytes) -> str:
        """64 hexadecimal digits, the same for the same bytes; without the key they say nothing of them."""
        ...

    def close(self, label: str, data: bytes) -> bytes:
        """An object of these bytes."""
        ...

    def open(self, label: str, stored: bytes) -> bytes:
        """The bytes again. BackupDamaged unless they are exactly those that were closed under this label."""
        ...


class Checksummed:
    """No passphrase: readable by whoever can read the target, and checked against accidents, not against forgers."""

    encrypted = False

    def piece_id(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    def close(self, label: str, data: bytes) -> bytes:
        return _PLAIN + _checksum(label, data) + data

    def open(self, label: str, stored: bytes) -> bytes:
        data = stored[1 + _CHECKSUM_BYTES :]
        if stored[:1] != _PLAIN or not hmac.compare_digest(stored[1 : 1 + _CHECKSUM_BYTES], _checksum(label, data)):
            raise BackupDamaged(label, "its checksum is wrong")
        return data


class Encrypted:
    """AES-256-GCM with a random nonce for each object (good for 2^32 objects: NIST SP 800-38D, 8.3); names of pieces by
    HMAC-SHA256, so that nobody without the key can tell whether a known file is in the repository."""

    encrypted = True

    def __init__(self, data_key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(_derived(data_key, b"perenne backups: objects"))
        self._names = _derived(data_key, b"perenne backups: names")

    def piece_id(self, data: bytes) -> str:
        return hmac.digest(self._names, data, "sha256").hex()

    def close(self, label: str, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + nonce + self._cipher.encrypt(nonce, data, label.encode())

    def open(self, label: str, stored: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        nonce, rest = stored[1 : 1 + _NONCE_BYTES], stored[1 + _NONCE_BYTES :]
        if stored[:1] != _SEALED or len(nonce) < _NONCE_BYTES:
            raise BackupDamaged(label, "it is not encrypted as this repository's objects are")
        try:
            return self._cipher.decrypt(nonce, rest, label.encode())
        except InvalidTag:
            raise BackupDamaged(label, "it was altered: its authentication tag is wrong") from None


def _checksum(label: str, data: bytes) -> bytes:
    digest = hashlib.sha256(label.encode() + b"\0")
    digest.update(data)
    return digest.digest()[:_CHECKSUM_BYTES]


def _derived(key: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(key)
