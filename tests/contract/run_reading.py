"""Asking a question, and reading what its run says over HTTP and over a WebSocket."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx_sse
import websockets

from tests.contract.edge_house import House, secret


async def read_events(
    http: httpx.AsyncClient, run_id: str, after: int | None = 0, upto: int | None = None, headers: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    query = {} if after is None else {"after": after}
    async with httpx_sse.aconnect_sse(http, "GET", f"/api/runs/{run_id}/events", params=query, headers=headers or {}) as source:
        async for sent in source.aiter_sse():
            if not sent.data:
                continue
            event = json.loads(sent.data)
            assert sent.id == str(event["seq"])
            assert sent.event == event["kind"]
            seen.append(event)
            if event["seq"] == upto:
                break
    return seen


async def post(http: httpx.AsyncClient, text: str = "When?", **more: Any) -> dict[str, Any]:
    answer = await http.post("/api/conversations/cnv_1/messages", json={"text": text, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()


def socket_of(house: House, key: str = "owner") -> Any:
    headers = {"Authorization": f"Bearer {secret(key)}"}
    return websockets.connect(house.address.replace("http", "ws") + "/ws", additional_headers=headers)


async def said_until_closed(socket: Any) -> AsyncIterator[str]:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in socket:
            yield message
