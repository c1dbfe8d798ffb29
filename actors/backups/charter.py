"""What makes a target a repository: a small file that says its format and id and, with a passphrase, holds the key under which
everything is encrypted, wrapped by what scrypt makes of the passphrase. It is kept twice: lost, it takes all backups along."""

import base64
import hashlib
import os
from dataclasses import dataclass
from typing import Any

import orjson

from actors.backups.sealing import Checksummed, Encrypted, Seal
from actors.backups.storage import Storage
from perenne.errors import BackupDamaged, ConfigurationError, Conflict, NotFound, WrongPassphrase
from perenne.ids import new_id

NAMES = ("repository.json", "repository.copy.json")
FORMAT = 1
_LIMIT_BYTES = 16_384
_KEY_BYTES = 32
_WORK = {"n": 1 << 16, "r": 8, "p": 1}  # 64 MiB and 0.2 s a guess; RFC 7914 and OWASP ask for 2^14 to 2^17
_WORK_MOST = {"n": 1 << 18, "r": 16, "p": 4}  # a charter that asks for more is refused: 512 MiB at most
_ASSOCIATED = b"perenne backups: data key"


@dataclass(frozen=True, slots=True)
class Charter:
    """The repository's id and the seal of its objects."""

    repository_id: str
    seal: Seal


def found(storage: Storage, passphrase: str | None) -> Charter:
    """Build the charter of a new repository, or that of whoever founded it at the same moment. Durable when this returns."""
    if any(True for _ in storage.sizes("")):
        raise Conflict(f"{storage.shown} is neither empty nor a backup repository: give an empty or a new folder")
    fields: dict[str, Any] = {"format": FORMAT, "id": new_id("rep")}
    if passphrase is not None:
        fields["key"] = _wrapped(os.urandom(_KEY_BYTES), passphrase)
    storage.write_new(NAMES[0], _written(fields))
    storage.write(NAMES[1], storage.read(NAMES[0], _LIMIT_BYTES))
    storage.settle([""])
    return read(storage, passphrase)


def read(storage: Storage, passphrase: str | None) -> Charter:
    """NotFound where there is none; WrongPassphrase; BackupDamaged when both copies are; ConfigurationError for a repository
    of a newer format."""
    fields = _fields(storage)
    if fields.get("format") != FORMAT:
        raise ConfigurationError(
            f"{storage.shown} is of format {fields.get('format')!r}, this version knows {FORMAT}: use a newer Perenne"
        )
    key, repository_id = fields.get("key"), fields.get("id")
    if not isinstance(repository_id, str):
        raise BackupDamaged(NAMES[0], "it says no id")
    if key is None:
        if passphrase is not None:
            raise WrongPassphrase(f"{storage.shown} is not encrypted, and a passphrase was given: leave it out")
        return Charter(repository_id, Checksummed())
    if passphrase is None:
        raise WrongPassphrase(f"{storage.shown} is encrypted: its passphrase is needed")
    return Charter(repository_id, Encrypted(_unwrapped(key, passphrase, storage.shown)))


def rewrap(storage: Storage, passphrase: str, new: str) -> None:
    """Put the key under another passphrase. If this returns the new one holds; if it raises, either may."""
    fields = _fields(storage)
    if fields.get("key") is None:
        raise WrongPassphrase(f"{storage.shown} is not encrypted; a passphrase is given when a repository is made")
    fields["key"] = _wrapped(_unwrapped(fields["key"], passphrase, storage.shown), new)
    data = _written(fields)
    for name in NAMES:
        storage.write(name, data)
        storage.settle([""])


def damage(storage: Storage) -> list[tuple[str, str]]:
    """Which of the two copies are missing or damaged, and how."""
    found: list[tuple[str, str]] = []
    for name in NAMES:
        try:
            _parsed(name, storage.read(name, _LIMIT_BYTES))
        except FileNotFoundError:
            found.append((name, "it is missing"))
        except BackupDamaged as error:
            found.append((name, error.reason))
    return found


def mend(storage: Storage) -> None:
    """Write the damaged copy again from the whole one. BackupDamaged when neither is whole."""
    bad = {name for name, _ in damage(storage)}
    if bad:
        data = _written(_fields(storage))
        for name in bad:
            storage.write(name, data)
        storage.settle([""])


def _fields(storage: Storage) -> dict[str, Any]:
    damaged: BackupDamaged | None = None
    for name in NAMES:
        try:
            return _parsed(name, storage.read(name, _LIMIT_BYTES))
        except FileNotFoundError:
            continue
        except BackupDamaged as error:
            damaged = error
    raise damaged or NotFound("backup repository", storage.shown)


def _written(fields: dict[str, Any]) -> bytes:
    body = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return orjson.dumps({"about": fields, "sha256": hashlib.sha256(body).hexdigest()}, option=orjson.OPT_INDENT_2)


def _parsed(name: str, data: bytes) -> dict[str, Any]:
    try:
        whole = orjson.loads(data)
        fields: dict[str, Any] = whole["about"]
        again = _written(fields)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, TypeError, KeyError) as error:
        raise BackupDamaged(name, f"it can't be read: {error}") from None
    if again != data:  # byte for byte, so that no bit of it can change unseen
        raise BackupDamaged(name, "its checksum is wrong")
    return fields


def _wrapped(data_key: bytes, passphrase: str) -> dict[str, Any]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not passphrase:
        raise ConfigurationError("the passphrase is empty: expected one of at least a character, or none at all")
    salt, nonce = os.urandom(16), os.urandom(12)
    wrapped = AESGCM(_stretched(passphrase, salt, _WORK)).encrypt(nonce, data_key, _ASSOCIATED)
    return {"scrypt": _WORK, "salt": _text(salt), "nonce": _text(nonce), "wrapped": _text(wrapped)}


def _unwrapped(key: dict[str, Any], passphrase: str, shown: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        work = {name: int(key["scrypt"][name]) for name in _WORK}
        salt, nonce, wrapped = (base64.b64decode(key[name], validate=True) for name in ("salt", "nonce", "wrapped"))
        if any(not 1 <= work[name] <= most for name, most in _WORK_MOST.items()) or len(nonce) != 12:
            raise ValueError(f"scrypt with {work}")
        data_key = AESGCM(_stretched(passphrase, salt, work)).decrypt(nonce, wrapped, _ASSOCIATED)
    except InvalidTag:
        raise WrongPassphrase(f"the passphrase is not that of {shown}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise BackupDamaged(NAMES[0], f"its key can't be read: {error}") from None
    return data_key


def _stretched(passphrase: str, salt: bytes, work: dict[str, int]) -> bytes:
    import unicodedata

    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    typed = unicodedata.normalize("NFC", passphrase).encode()  # the same however a keyboard composes its accents
    return Scrypt(salt=salt, length=_KEY_BYTES, **work).derive(typed)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
