"""The told instance's `/ws`: tickets, the feed of changes, and sockets that it refuses, cuts and takes up again."""

import json
import socket
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlparse

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

_LOOK_AGAIN_S = 0.01


@dataclass
class FakeFeed:
    """What was told so far, and to whom. `stands` False: no ticket is given."""

    stands: bool = False
    changes: list[dict[str, Any]] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)  # given and not used yet
    watched: list[tuple[int | None, str | None]] = field(default_factory=list)  # what each `watch` named
    held: list[socket.socket] = field(default_factory=list)

    def tell(self, entity: str, id: str, op: str = "update", conversation: str | None = None) -> None:
        change = {"seq": len(self.changes) + 1, "entity": entity, "id": id, "op": op, "conversation_id": conversation}
        self.changes.append(change)

    def ticket(self) -> str:
        self.tickets.append(f"ticket {time.time_ns()}")
        return self.tickets[-1]

    def cut(self) -> None:
        """Break every socket that there is, as a network does."""
        for connection in self.held:
            connection.shutdown(socket.SHUT_RDWR)
        self.held.clear()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """One socket, to its end. The server reads on only once it is over."""
        handler.close_connection = True
        ticket = parse_qs(urlparse(handler.path).query).get("ticket", [""])[0]
        if ticket not in self.tickets:
            handler.send_error(403)
            return
        self.tickets.remove(ticket)
        asked = f"{handler.requestline}\r\n{str(handler.headers).strip().replace(chr(10), chr(13) + chr(10))}\r\n\r\n"
        talk = ServerProtocol()
        talk.receive_data(asked.encode("latin-1"))
        request = talk.events_received()[0]
        assert isinstance(request, Request)
        talk.send_response(talk.accept(request))
        self.held.append(handler.connection)
        try:
            self._talk(talk, handler.connection)
        except OSError:
            return  # cut

    def _talk(self, talk: ServerProtocol, connection: socket.socket) -> None:
        after: int | None = None
        connection.settimeout(_LOOK_AGAIN_S)
        while talk.state is State.OPEN:
            for change in self.changes[after:] if after is not None else ():
                talk.send_text(json.dumps({"type": "change", "change": change}).encode())
                after = change["seq"]
            for data in talk.data_to_send():
                connection.sendall(data)
            try:
                if not (read := connection.recv(1 << 16)):
                    return
            except TimeoutError:
                continue
            talk.receive_data(read)
            for event in talk.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    after = self._take(talk, json.loads(bytes(event.data)), after)

    def _take(self, talk: ServerProtocol, asked: dict[str, Any], after: int | None) -> int | None:
        if asked["type"] == "ping":
            talk.send_text(b'{"type": "pong"}')
        if asked["type"] != "watch":
            return after
        self.watched.append((asked.get("after"), asked.get("origin")))
        begin = asked.get("after", len(self.changes))
        talk.send_text(json.dumps({"type": "watching", "after": begin, "origin": "told", "complete": True}).encode())
        return begin
