"""A small real HTTP server of one file, that serves ranges and can cut the connection in the middle."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """`cut_after`: the next answer breaks off after so many bytes. `gate`: when set, answers wait in the middle."""

    def __init__(self, content: bytes, ranges: bool = True) -> None:
        self.content, self.ranges = content, ranges
        self.cut_after: int | None = None
        self.slow = threading.Event()
        self.asked: list[str | None] = []
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranges else 0
        body = self.content[start:]
        request.send_response(206 if wanted and self.ranges else 200)
        request.send_header("Content-Length", str(len(body)))
        if wanted and self.ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.end_headers()
        cut, self.cut_after = self.cut_after, None
        body = body if cut is None else body[:cut]
        for at in range(0, len(body), 65_536):
            if self.slow.is_set() and at > len(body) // 3:
                threading.Event().wait(0.05)
            try:
                request.wfile.write(body[at : at + 65_536])
            except OSError:
                return
            self.sent += len(body[at : at + 65_536])
        if cut is not None:
            request.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
