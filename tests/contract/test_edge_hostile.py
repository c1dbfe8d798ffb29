"""Bodies that hurt: every class of input on which JSON readers are known to differ or break, put whole and into every field."""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.openai_bodies import ChatBody, EmbeddingBody
from serve.routes import TABLE
from tests.contract.edge_house import House, house_in

WITHIN_S = 2.0  # longer, and other callers and the health check wait for this one

# Values, as they would stand in a body: some are JSON, some only look like it.
VALUES: dict[str, bytes] = {
    "a lone high surrogate": b'"\\uD800"',
    "a lone low surrogate": b'"a\\uDFFFb"',
    "surrogates the wrong way round": b'"\\uDD1E\\uD834"',
    "a surrogate pair": b'"\\uD834\\uDD1E"',
    "a NUL": b'"a\\u0000b"',
    "only a NUL": b'"\\u0000"',
    "line and paragraph separators": b'"\\u2028\\u2029"',
    "a noncharacter": b'"\\uFFFF\\uDBFF\\uDFFE"',
    "a raw control character": b'"a\x01b"',
    "a raw line break": b'"a\nb"',
    "an unknown escape": b'"\\x41"',
    "a cut escape": b'"\\u00"',
    "bytes that are no UTF-8": b'"\xff\xfe"',
    "a cut UTF-8 sequence": b'"\xe2\x82"',
    "an overlong sequence": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "a number beyond a double": b"1e99999",
    "a number below a double": b"-1e-99999",
    "an integer of 5000 digits": b"9" * 5000,
    "an integer beyond 64 bits": b"-" + b"9" * 40,
    "a leading zero": b"-012",
    "a leading plus": b"+1",
    "a hexadecimal number": b"0x1F",
    "a bare point": b"1.",
    "minus zero": b"-0",
    "a fullwidth digit": "１".encode(),
    "an empty array": b"[]",
    "an empty key": b'{"": null}',
    "a duplicated key": b'{"a": 1, "a": 2}',
    "the key of every object": b'{"__proto__": {"admin": true}, "constructor": 1}',
    "null": b"null",
    "False": b"False",
    "arrays 200 deep": b"[" * 200 + b"]" * 200,
    "arrays 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "objects 50,000 deep": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "arrays that never close": b"[" * 100_000,
    "a single quote": b"'x'",
    "a trailing comma": b'["a",]',
    "a comment": b'"a" /* b */',
    "an unclosed string": b'"abc',
    "nothing": b"",
    "a long string": b'"' + b"x" * 1_000_000 + b'"',
    "a million wrong items": b"[" + b"1," * 1_000_000 + b"1]",
    "a hundred thousand fields": b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}",
}


def frames(body: bytes) -> Iterator[bytes]:
    """A whole body, spoilt from outside."""
    yield from (body[:-1], body + b"}", body + body, b"\xef\xbb\xbf" + body, body + b"\x00", b"\x0c" + body, body + b"#")
    yield body.decode().encode("utf-16")
    yield body.decode().encode("utf-32-le")


def example_of(line: Any) -> dict[str, Any]:
    """A body that the route takes, as its document shows it."""
    hints = line.route.__annotations__
    kinds = hints["body"].__args__ if hasattr(hints["body"], "__args__") else (hints["body"],)
    return dict(kinds[0].model_config["json_schema_extra"]["examples"][0])


LINES = [line for line in TABLE if "body" in line.route.__annotations__]


def spoilt(line: Any) -> Iterator[tuple[str, bytes]]:
    """Every value as the whole body, as each field, and under a field that nobody knows."""
    body = example_of(line)
    extra = {ChatBody: ("seed", "stop", "tools", "response_format"), EmbeddingBody: ("dimensions",)}
    fields = {*body, "k", "filters", "options", "unknown", *extra.get(line.route.__annotations__["body"], ())}
    for words, value in VALUES.items():
        yield words, value
        for field in sorted(fields):
            held = {**body, field: "<here>"}
            yield f"{words} in {field}", json.dumps(held).encode().replace(b'"<here>"', value)
        if "messages" in body:
            held = {**body, "messages": [{"role": "user", "content": "<here>"}]}
            yield f"{words} in content", json.dumps(held).encode().replace(b'"<here>"', value)
    for number, frame in enumerate(frames(json.dumps(body).encode())):
        yield f"frame {number}", frame


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path, requests_per_minute=10**9) as house:
        yield house


def test_every_route_that_takes_json_is_tried() -> None:
    assert {line.path for line in LINES} >= {
        "/v1/chat/completions",
        "/v1/embeddings",
        "/api/search",
        "/api/projects",
        "/api/keys",
    }
    assert len(LINES) >= 11


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.method} {line.path}")
async def test_no_body_is_a_500_or_holds_the_others_up(house: House, line: Any) -> None:
    """A list of a million wrong items took 12 s of the event loop, and 1.6 GB, for its million reasons."""
    path = re.sub(r"{\w+}", "absent_x", line.path.replace("{project}", "default"))
    headers = {"Content-Type": "application/json"}
    async with house.http() as http:
        for words, body in spoilt(line):
            began = time.monotonic()
            answer = await http.request(line.method, path, content=body, headers=headers)
            took_s = time.monotonic() - began
            assert answer.status_code < 500, (words, answer.text[:300])
            assert took_s < WITHIN_S, (words, took_s)
            if answer.status_code >= 400:
                error = answer.json()["error"]
                assert error["message"], words
                assert len(answer.content) < 10_000, words
                if path.startswith("/v1/"):
                    assert {"message", "type", "param", "code"} == error.keys(), words
                    assert answer.status_code in (400, 404, 409), (words, answer.status_code)  # 409: the name is taken by now
            elif "json" in answer.headers["content-type"]:
                answer.json()
            else:
                assert answer.text.endswith("data: [DONE]\n\n"), words
        assert (await http.get("/api/me")).status_code == 200


async def test_what_is_odd_but_json_is_kept_as_it_came(house: House) -> None:
    async with house.http() as http:
        headers = {"Content-Type": "application/json"}
        odd = "\u2028𝄞\uffff ﷽"
        made = await http.post("/api/conversations", json={"title": odd})
        assert made.status_code == 201, made.text
        assert (await http.get(f"/api/conversations/{made.json()['id']}")).json()["title"] == odd.strip()
        last = await http.post("/api/conversations", content=b'{"title": "first", "title": "second"}', headers=headers)
        assert last.json()["title"] == "second", "as JavaScript and Python read it"
