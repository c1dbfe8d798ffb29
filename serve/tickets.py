"""Tickets for WebSockets: a browser cannot send a header there, and a key does not belong in an address.

A ticket names a key's hash and its own end, signed with a secret that the instance's replicas share in the home; that it was
used is a file there too, so that it works once, whichever replica sees it."""

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path
from urllib.parse import parse_qs

from perenne.errors import Unauthorized

LIFE_S = 30.0


class Tickets:
    """Issues and spends tickets. Files are touched in threads only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._secret: bytes | None = None

    async def issue(self, key_hash: str) -> str:
        """A ticket for one WebSocket, good for LIFE_S."""
        secret = await asyncio.to_thread(self._shared_secret)
        words = f"{key_hash}.{time.time() + LIFE_S:.0f}.{secrets.token_hex(16)}"
        return f"{words}.{_signature(secret, words)}"

    async def spend(self, query: str) -> str:
        """The key's hash behind `ticket=…`; Unauthorized when it is forged, late or used."""
        ticket = parse_qs(query).get("ticket", [""])[0]
        words, _, signature = ticket.rpartition(".")
        secret = await asyncio.to_thread(self._shared_secret)
        if not words or not hmac.compare_digest(_signature(secret, words).encode(), signature.encode("utf-8", "replace")):
            raise Unauthorized("a valid ticket is needed: POST /api/ws-ticket")
        key_hash, until, nonce = words.split(".")
        if float(until) < time.time():
            raise Unauthorized("the ticket is too old")
        if not await asyncio.to_thread(self._use, nonce):
            raise Unauthorized("the ticket was used before")
        return key_hash

    def _shared_secret(self) -> bytes:
        if self._secret is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._folder / "secret"
            aside = self._folder / f"secret.{os.getpid()}.{secrets.token_hex(4)}"
            if not path.exists():
                aside.touch(mode=0o600)
                aside.write_bytes(secrets.token_bytes(32))
                try:
                    os.link(aside, path)  # whole or not at all, and the first one counts
                except FileExistsError:
                    pass
                finally:
                    aside.unlink()
            self._secret = path.read_bytes()
        return self._secret

    def _use(self, nonce: str) -> bool:
        try:
            (self._folder / f"used-{nonce}").touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        for used in self._folder.glob("used-*"):
            try:
                if time.time() - used.stat().st_mtime > 2 * LIFE_S:
                    used.unlink()
            except FileNotFoundError:  # another replica was quicker
                continue
        return True


def _signature(secret: bytes, words: str) -> str:
    return hmac.new(secret, words.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
