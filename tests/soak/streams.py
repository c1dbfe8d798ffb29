"""An answer as a reader sees it: over server-sent events or the WebSocket, broken off on purpose and by faults, resumed by its number."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets
from websockets.exceptions import WebSocketException

from tests.soak.caller import Caller

FOLLOW_S = 300.0  # the longest that an answer may take, faults included
_AGAIN_S = 0.2
_ENDS = ("done", "error")


@dataclass
class Seen:
    """What one reader saw of one answer."""

    run_id: str
    way: str
    seqs: list[int] = field(default_factory=list)
    text: str = ""
    end: dict[str, Any] | None = None
    cuts: int = 0

    @property
    def last(self) -> int:
        return self.seqs[-1] if self.seqs else 0

    def see(self, event: dict[str, Any]) -> None:
        self.seqs.append(event["seq"])
        kind, data = event["kind"], event["data"]
        if kind == "delta":
            self.text += data["text"]
        elif kind == "restarted":
            self.text = ""
        elif kind == "citations":
            self.text = data["text"]
        elif kind in _ENDS:
            self.end = event


def faults_of(seen: Seen, kept: Seen, text: str | None) -> list[str]:
    """What contradicts the promise of a stream: each event once and in order, an end with a word, and what was shown is what is kept
    (`kept`: the same answer read once more from its first event; `text`: as the conversation holds it)."""
    wrong: list[str] = []
    who = f"{seen.run_id} over {seen.way}, {seen.cuts} cuts"
    if seen.end is None:
        return [f"{who}: it broke off without a word after event {seen.last}"]
    if any(after <= before for before, after in zip(seen.seqs, seen.seqs[1:], strict=False)):
        wrong.append(f"{who}: events came twice or out of order: {seen.seqs}")
    if missing := sorted(set(kept.seqs) - set(seen.seqs)):
        wrong.append(f"{who}: events {missing} were not shown")
    if strange := sorted(set(seen.seqs) - set(kept.seqs)):
        wrong.append(f"{who}: events {strange} are not kept")
    if seen.end["kind"] == "done":
        said = seen.end["data"]["text"]
        if seen.text != said:
            wrong.append(f"{who}: shown {seen.text!r}, but it ended with {said!r}")
        if text is not None and said != text:
            wrong.append(f"{who}: it ended with {said!r}, but {text!r} is kept")
    return wrong


async def follow(caller: Caller, run_id: str, way: str, cut_after: list[int], within_s: float) -> Seen:
    """Follow an answer to its end. The connection is given up after so many events, then after so many more, …"""
    seen, cuts = Seen(run_id, way), list(cut_after)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while seen.end is None:
                count, limit = 0, cuts.pop(0) if cuts else 0
                with contextlib.suppress(httpx.TransportError, OSError, WebSocketException):
                    async with contextlib.aclosing((_socket if way == "ws" else _sse)(caller, run_id, seen.last)) as events:
                        async for event in events:
                            seen.see(event)
                            count += 1
                            if seen.end is not None or count == limit:
                                break
                if seen.end is None:
                    seen.cuts += 1
                    await asyncio.sleep(_AGAIN_S)
    return seen


async def _sse(caller: Caller, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
    async with caller.http.stream(
        "GET", f"/api/runs/{run_id}/events", params={"after": after}, headers=caller.headers(), timeout=10.0
    ) as answer:
        if answer.status_code != 200:
            return
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


async def _socket(caller: Caller, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
    address = caller.address.replace("http", "ws", 1) + "/ws"
    async with websockets.connect(address, additional_headers=caller.headers(), open_timeout=10, close_timeout=1) as socket:
        await socket.send(json.dumps({"type": "subscribe", "run_id": run_id, "after": after}))
        async for text in socket:
            said = json.loads(text)
            if said["type"] == "event" and said["event"]["kind"] != "heartbeat":
                yield said["event"]
            elif said["type"] in ("error", "closing"):
                return
