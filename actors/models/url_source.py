"""A file over HTTP, resumed by byte range."""

import os
from collections.abc import Callable
from pathlib import Path

import httpx

_CONNECT_S = 4.0  # an unreachable host is given up after this
_READ_S = 30.0  # silence on an open connection
_CUTS_MAX = 8  # connections that may break in a row without a byte of progress


class SourceFailed(Exception):
    """This source did not give the file; another may."""


def fetch_url(
    url: str, path: Path, size: int, on_bytes: Callable[[int], None], *, transport: httpx.BaseTransport | None = None
) -> None:
    """Bring `path` to `size` bytes from `url`, going on from what is there. What arrived stays when it raises SourceFailed."""
    timeout = httpx.Timeout(_READ_S, connect=_CONNECT_S)
    cuts = 0
    with httpx.Client(timeout=timeout, follow_redirects=True, transport=transport) as client:
        while (held := path.stat().st_size if path.exists() else 0) < size:
            try:
                _stream(client, url, path, held, size, on_bytes)
            except httpx.ConnectError as error:
                raise SourceFailed(f"{url}: {error}") from error
            except httpx.TransportError as error:
                grown = (path.stat().st_size if path.exists() else 0) > held
                cuts = 1 if grown else cuts + 1
                if cuts >= _CUTS_MAX:
                    raise SourceFailed(f"{url}: broken off {cuts} times at byte {held}: {error}") from error
    if held > size:
        path.unlink()
        raise SourceFailed(f"{url}: more than the {size} bytes that were expected")


def _stream(client: httpx.Client, url: str, path: Path, held: int, size: int, on_bytes: Callable[[int], None]) -> None:
    headers = {"Accept-Encoding": "identity"}  # bytes as they are: ranges count them
    if held:
        headers["Range"] = f"bytes={held}-"
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise SourceFailed(f"{url}: is shorter than the {size} bytes that were expected")
        if answer.status_code >= 400:
            raise SourceFailed(f"{url}: HTTP {answer.status_code}")
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            raise SourceFailed(f"{url}: asked from byte {held}, got {answer.headers.get('Content-Range')!r}")
        done = held if resumed else 0
        with path.open("r+b" if resumed else "wb") as file:
            file.seek(done)
            for piece in answer.iter_raw():  # as it comes: a piece held back until it is full would be lost in a cut
                if done + len(piece) > size:
                    file.truncate(0)
                    raise SourceFailed(f"{url}: more than the {size} bytes that were expected")
                file.write(piece)
                done += len(piece)
                on_bytes(done)
            file.flush()
            os.fsync(file.fileno())
        if done < size and not answer.headers.get("Content-Length"):
            raise httpx.RemoteProtocolError(f"ended at byte {done} of {size}")
        if done < size and resumed is False and int(answer.headers["Content-Length"]) < size:
            raise SourceFailed(f"{url}: has {answer.headers['Content-Length']} bytes, expected {size}")
