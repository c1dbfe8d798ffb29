"""Messages by Apprise: email, Slack, ntfy and some hundred more. Runs in the process that sends."""

import logging
from typing import Any

from actors.alerts.channels.masking import masked
from actors.alerts.channels.order import Order, Sent
from perenne.errors import InvalidRequest

# Those that talk to this PC instead of somebody: nobody would hear of it on another one.
_LOCAL = frozenset({"dbus", "kde", "qt", "glib", "gnome", "macosx", "windows", "syslog"})
_KINDS = {"critical": "failure", "warning": "warning", "info": "info", "debug": "info"}


def _asset() -> Any:
    """How Apprise is to behave: nothing on disk, no plugins of others, no redirects, one try, one after another."""
    from apprise import AppriseAsset

    return AppriseAsset(
        app_id="Perenne",
        app_desc="Perenne",
        app_url="",
        storage_mode="memory",
        async_mode=False,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        default_service_retry=0,
        image_url_mask="",
        image_url_logo="",
    )


def load() -> None:
    """Import it, so that the forks don't: it takes two seconds."""
    from apprise import Apprise

    Apprise.instantiate("json://localhost", asset=_asset())  # reads all of its plugins in


def service_of(url: str) -> Any:
    """What an address names. InvalidRequest when it is none, or one that we don't send to; the address is not repeated."""
    from apprise import Apprise

    scheme = url.partition("://")[0].lower()
    if scheme in _LOCAL:
        raise InvalidRequest(f"url: {scheme}:// shows messages on this PC only; expected a service that is sent to", "url")
    service = Apprise.instantiate(url, asset=_asset())
    if service is None:
        raise InvalidRequest("url: expected an address as Apprise has them (mailto://…, ntfy://…), got another", "url")
    if not service.verify_certificate:
        raise InvalidRequest(
            "url: certificates are always verified; take verify=no away (outgoing.ca_file names one of your own)", "url"
        )
    if _recipients(service) > 1:
        raise InvalidRequest(
            "url: expected one recipient: were one of several away, the others would be told again and again; add a channel for each",
            "url",
        )
    service.redirects = False
    return service


def _recipients(service: Any) -> int:
    """How many it tells; of a mail those with a copy too."""
    copies = sum(len(getattr(service, name, None) or ()) for name in ("cc", "bcc"))
    return max(len(service), len(getattr(service, "targets", None) or ())) + copies


class _Words(logging.Handler):
    """What Apprise says on the way: it answers no more than yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or "xception" in record.getMessage():
            self.lines.append(record.getMessage())


def send(order: Order) -> Sent:
    """Say it to one service."""
    import apprise

    try:
        service = service_of(order.url)
    except InvalidRequest as error:
        return Sent(ok=False, words=str(error))
    _carry_key(service, order.key)
    told = apprise.Apprise(asset=service.asset)
    told.add(service)
    words, logger = _Words(), logging.getLogger("apprise")
    logger.addHandler(words)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    ok = bool(
        told.notify(body=order.text, title=order.title, notify_type=_KINDS.get(order.severity, "info"), body_format="text")
    )
    said = "; ".join(dict.fromkeys(words.lines))
    return Sent(ok=ok, words=masked(said, order.url) if not ok else f"{service.service_name} took it")


def _carry_key(service: Any, key: str) -> None:
    """The key of the delivery as a header: of mails, and of whatever goes over HTTP."""
    import requests

    headers = getattr(service, "headers", None)
    if service.secure_protocol == "mailtos" and isinstance(headers, dict):
        headers["Idempotency-Key"] = key
    session: Any = requests.Session
    real = session.request

    def request(self: Any, method: str, url: str, **given: Any) -> Any:
        given["headers"] = {**(given.get("headers") or {}), "Idempotency-Key": key}
        given["allow_redirects"] = False
        return real(self, method, url, **given)

    session.request = request
