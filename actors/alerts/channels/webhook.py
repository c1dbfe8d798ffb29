"""A signed webhook over HTTP: one request, no redirect, a short look at the answer. Runs in the process that sends."""

import contextlib
import ssl
from email.utils import parsedate_to_datetime
from typing import Any

from actors.alerts.channels.masking import masked
from actors.alerts.channels.order import WORDS_CHARS_MAX, Order, Sent
from actors.alerts.channels.signature import signed_headers

CONNECT_S, READ_S = 5.0, 15.0
_ANSWER_BYTES_MAX = 2_048  # looked at; the rest is not read
BODY_BYTES_MAX = 256 << 10
_UNFIT = frozenset({400, 413, 414, 415, 422, 431})  # the sink is there, and finds this very message wrong


def body_of(order: Order) -> bytes:
    """What is signed and sent."""
    import orjson

    return orjson.dumps({**order.body, "idempotency_key": order.key}, option=orjson.OPT_SORT_KEYS)


def _retry_after_s(value: str | None, now: float) -> float | None:
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    return None


def send(order: Order, ca_file: str | None) -> Sent:
    """Post it. What goes wrong on the way is a Sent too."""
    import httpx

    body = body_of(order)
    if len(body) > BODY_BYTES_MAX:
        return Sent(ok=False, unfit=True, words=f"the message has {len(body):,} bytes; the limit is {BODY_BYTES_MAX:,}")
    headers = {
        "content-type": "application/json",
        "user-agent": "Perenne",
        "idempotency-key": order.key,
        "accept-encoding": "identity",
        **signed_headers(order.secrets, order.key, int(order.at), body),
    }
    timeout = httpx.Timeout(READ_S, connect=CONNECT_S)
    try:
        context = ssl.create_default_context(cafile=ca_file) if ca_file else True
        with httpx.Client(trust_env=False, follow_redirects=False, timeout=timeout, verify=context) as client:
            with client.stream("POST", order.url, content=body, headers=headers) as answer:
                return _judged(answer, masked(_first_words(answer), order.url, order.secrets), order.at)
    except httpx.TimeoutException as error:
        return Sent(ok=False, words=f"no answer in time ({type(error).__name__})")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Sent(ok=False, words=masked(f"{type(error).__name__}: {_root(error)}", order.url))


def _root(error: BaseException) -> BaseException:
    """What really happened: libraries wrap it."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _first_words(answer: Any) -> str:
    read = b""
    for piece in answer.iter_raw():
        read += piece
        if len(read) >= _ANSWER_BYTES_MAX:
            break
    return " ".join(read[:_ANSWER_BYTES_MAX].decode("utf-8", "replace").split())[:WORDS_CHARS_MAX]


def _judged(answer: Any, words: str, now: float) -> Sent:
    status = int(answer.status_code)
    said = f"HTTP {status}" + (f": {words}" if words else "")
    if 200 <= status < 300:
        return Sent(ok=True, status=status, words=said)
    if 300 <= status < 400:
        return Sent(
            ok=False,
            status=status,
            words=f"HTTP {status}: it redirects, and redirects are not followed: give the address itself",
        )
    after_s = _retry_after_s(answer.headers.get("retry-after"), now)
    return Sent(ok=False, status=status, words=said, unfit=status in _UNFIT, retry_after_s=after_s)
