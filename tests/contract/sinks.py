"""Sinks that really listen on this PC: an HTTP server that does what its path says, and a mail server. Both note what came."""

import asyncio
import contextlib
import ssl
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Got:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        sink: HttpSink = self.server.sink  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        sink.got.append(Got(self.path, headers, body, time.time()))
        sink.came.set()
        with contextlib.suppress(OSError):
            sink.answer(self)

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None: ...


class HttpSink:
    """`status` is what it answers; `down` closes its port for a while. Paths: /hang answers never, /slow after `slow_s`, /drip a byte at
    a time for ever, /flood without end, /to redirects to `redirect_to`, /unfit with 422, /later with 429."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self.got: list[Got] = []
        self.came = threading.Event()
        self.status, self.slow_s, self.redirect_to = 200, 1.0, ""
        self._ended = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.up()

    def up(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        self._server.daemon_threads = True
        self._server.sink = self  # type: ignore[attr-defined]
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        self._ended.set()
        self.down()

    def url(self, path: str = "/ok", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        if self.port and to.path.startswith("/hang"):
            self._ended.wait(60)
            return
        if to.path.startswith("/slow"):
            self._ended.wait(self.slow_s)
        if to.path.startswith("/drip"):
            to.send_response(200)
            to.send_header("content-length", "1000000")
            to.end_headers()
            while not self._ended.wait(0.1):
                to.wfile.write(b".")
            return
        if to.path.startswith("/flood"):
            to.send_response(200)
            to.send_header("content-length", str(1 << 40))
            to.end_headers()
            while not self._ended.is_set():
                to.wfile.write(b"." * 65536)
            return
        status = {"/to": 302, "/unfit": 422, "/later": 429}.get("/" + to.path.split("/")[1].partition("?")[0], self.status)
        words = b"sorry, token=very-secret-token" if status >= 400 else b"thanks"
        to.send_response(status)
        if status == 302:
            to.send_header("location", self.redirect_to)
        if status == 429:
            to.send_header("retry-after", "77")
        to.send_header("content-length", str(len(words)))
        to.end_headers()
        to.wfile.write(words)


@dataclass
class MailSink:
    """Speaks as much of SMTP as it takes to be handed a mail. `refuse`: it answers 450 to the mail."""

    mails: list[Message] = field(default_factory=list)
    refuse: bool = False
    port: int = 0

    async def __aenter__(self) -> "MailSink":
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                word = line.split()[0].upper() if line.split() else b""
                if word == b"DATA":
                    writer.write(b"354 go on\r\n")
                    data = await reader.readuntil(b"\r\n.\r\n")
                    if not self.refuse:
                        self.mails.append(message_from_bytes(data[:-5].replace(b"\r\n..", b"\r\n.")))
                    writer.write(b"450 not now\r\n" if self.refuse else b"250 taken\r\n")
                elif word == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 yes\r\n")
                await writer.drain()
        writer.close()
