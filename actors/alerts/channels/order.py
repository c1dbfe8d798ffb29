"""What the process that sends is told, and what it says came of it. Lines of JSON: an order, then an answer."""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["apprise", "webhook"]

WORDS_CHARS_MAX = 400  # of what a sink answered or a library said, kept with the delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One message to one sink. `body` is what a webhook carries, without its `idempotency_key`; `title` and `text` what a person reads."""

    kind: Kind
    url: str = field(repr=False)
    key: str  # the same at each try
    at: float  # seconds since 1970: the timestamp that is signed
    title: str = ""
    text: str = ""
    severity: str = "info"
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """`ok`: the sink took it. Otherwise `words` say why not, without a secret; `unfit`: the sink found this very message wrong, so that
    sending it for a day would only hold up the others; `retry_after_s`: what the sink asked for."""

    ok: bool
    words: str = ""
    status: int | None = None
    unfit: bool = False
    retry_after_s: float | None = None
    took_s: float = 0.0
