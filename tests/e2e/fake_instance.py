"""An instance that does what it is told: the page's states that are hard to provoke in a real one.

It serves the built page with the edge's content policy, and answers the API's routes from memory. Only the page is tested
against it: what the routes really do is tested elsewhere.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from serve.door import PAGE_POLICY
from tests.e2e.fake_alerts import FakeAlerts
from tests.e2e.fake_socket import FakeFeed

KEY = "pk_fake"
OTHER_KEY = "pk_other"  # of somebody whose one project is called "theirs"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
REFUSED = "it needs a password: retry with the password"
EMBEDDING = {"role": "embedding", "model_id": "fake", "phase": "ready", "progress": None, "detail": ""}


@dataclass
class Told:
    """How the instance behaves; a test sets it."""

    phase: str = "ready"
    progress: float | None = None
    break_after: int | None = None  # cut each event stream after so many events
    restart: bool = False  # the answer begins again half-way
    delay_s: float = 0.02  # between two words
    fail: tuple[str, str] | None = None  # (code, message) of the answer's error


@dataclass
class FakeInstance:
    dist: Path
    address: str = ""
    told: Told = field(default_factory=Told)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    conversations: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    leaves: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked_after: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # every request of the API, in order: "GET conversations"
    watches: dict[str, dict[str, Any]] = field(default_factory=dict)
    owner: bool = True  # whether the key may see the watched folders and alerts
    feed: FakeFeed = field(default_factory=FakeFeed)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.alerts = FakeAlerts(self.feed.tell)

    def start(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"instance": self}))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, name: str, body: bytes) -> dict[str, Any]:
        number = next(self.ids)
        document = {
            "id": f"doc_{number}", "title": name, "filename": name, "size_bytes": len(body), "language": None, "pages": None,
            "chunks": 0, "state": "queued", "reason": None, "code": None, "details": {}, "created_at": time.time(),
        }  # fmt: skip
        job = {
            "id": f"job_{number}", "kind": "document", "state": "running", "document_id": document["id"], "filename": name,
            "done": 0, "total": 8, "unit": "chunks", "reason": None, "code": None, "details": {}, "created_at": time.time(),
        }  # fmt: skip
        self.documents[document["id"]], self.jobs[job["id"]] = document, job
        self.texts[document["id"]] = body.decode("utf-8", "replace")
        self.feed.tell("document", document["id"], "insert")
        return {"document": document, "job": job}

    def move(self) -> None:
        """Each look at the documents finds them one step further."""
        for job in self.jobs.values():
            document = self.documents.get(job["document_id"])
            if document is None or job["state"] != "running":
                continue
            if "locked" in document["title"]:
                job["state"] = document["state"] = "refused"
                job["reason"] = document["reason"] = REFUSED
                job["code"] = document["code"] = "password_needed"
                continue
            job["done"] += 3
            document["state"] = "indexing"
            if job["done"] >= 8:
                job["state"], document["state"], document["chunks"] = "done", "indexed", 8

    def branch(self, conversation: str) -> list[dict[str, Any]]:
        """The messages of the branch that is shown, each with those that follow the same one."""
        at, found = self.leaves.get(conversation), []
        while at is not None:
            message = next(m for m in self.messages if m["id"] == at)
            beside = [
                m for m in self.messages if (m["conversation_id"], m["parent_id"]) == (conversation, message["parent_id"])
            ]
            found.insert(0, message | {"siblings": [m["id"] for m in beside]})
            at = message["parent_id"]
        return found

    def choose(self, id: str) -> dict[str, Any]:
        """The branch of a message, with the newest of what follows."""
        conversation = next(m["conversation_id"] for m in self.messages if m["id"] == id)
        while below := [m["id"] for m in self.messages if m["parent_id"] == id]:
            id = below[-1]
        self.leaves[conversation] = id
        return self.conversations[conversation]

    def ask(self, conversation: str, text: str, edits: str | None = None, again: str | None = None) -> dict[str, Any]:
        number = next(self.ids)
        parent = self.leaves.get(conversation)
        if edits is not None:
            parent = next(m["parent_id"] for m in self.messages if m["id"] == edits)
        common = {"conversation_id": conversation, "created_at": time.time(), "citations": [], "siblings": []}
        question = {"id": f"msg_{number}q", "role": "user", "text": text, "run_id": None, "state": "done", **common}
        question["parent_id"] = parent
        if again is not None:
            question = next(m for m in self.messages if m["id"] == again)
        reply = {
            "id": f"msg_{number}a",
            "role": "assistant",
            "text": "",
            "run_id": f"run_{number}",
            "state": "queued",
            "parent_id": question["id"],
            **common,
        }
        self.messages += [reply] if again else [question, reply]
        self.leaves[conversation] = reply["id"]
        self.converse(conversation, text)
        for message in (question, reply):
            self.feed.tell("message", message["id"], "insert", conversation)
        return {"question": question, "reply": reply, "run": self.run_of(reply, text)}

    def converse(self, conversation: str, title: str) -> None:
        """Begin it, or use it once more: it is the first of the list then."""
        made = {"id": conversation, "project_id": "prj_1", "title": title, "updated_at": time.time()}
        op = "update" if conversation in self.conversations else "insert"
        self.conversations = {conversation: self.conversations.pop(conversation, made)} | self.conversations
        self.feed.tell("conversation", conversation, op)

    def watch(self, path: str) -> dict[str, Any]:
        watch = {"id": f"wat_{next(self.ids)}", "user_id": "owner", "project_id": "prj_1", "path": path, "ignore": []}
        watch["created_at"] = time.time()
        state = {"watch": watch, "phase": "watching", "files": 3, "skipped": 0, "reason": None, "scanned_at": time.time()}
        self.watches[watch["id"]] = state
        return state

    def run_of(self, reply: dict[str, Any], text: str) -> dict[str, Any]:
        run = {"id": reply["run_id"], "state": "running", "stop": False, "reply": reply, "events": []}
        self.runs[run["id"]] = run
        threading.Thread(target=self.answer, args=(run, text), daemon=True).start()
        return {"id": run["id"], "state": "queued"}

    def waits(self, reply: dict[str, Any]) -> bool:
        """Whether the answer before it on its branch is still being written."""
        question = next(m for m in self.messages if m["id"] == reply["parent_id"])
        return any(m["id"] == question["parent_id"] and m["state"] == "queued" for m in self.messages)

    def answer(self, run: dict[str, Any], question: str) -> None:
        """What a run host does, in short: sources, words, citations, the end."""

        def say(kind: str, **data: Any) -> None:
            run["events"].append({"run_id": run["id"], "seq": len(run["events"]) + 1, "kind": kind, "data": data})

        told, reply = self.told, run["reply"]
        say("status", stage="queued", detail="")
        while self.waits(reply):
            time.sleep(0.01)
        say("status", stage="searching", detail="")
        document = next(iter(self.documents.values()), None)
        declined = "moon" in question or document is None
        hits: list[dict[str, Any]] = []
        place: dict[str, Any] = {}
        if document is not None and not declined:
            text = self.texts[document["id"]]
            spans = [m.span() for m in re.finditer(r"[^.\n]{12,}\.", text)][:3]
            place = {"document_id": document["id"], "title": document["title"], "page": 1}
            hits = [
                place | {"chunk_id": n, "text": text[a:b], "start": a, "end": b, "score": 0.9 - n / 10, "heading_path": []}
                for n, (a, b) in enumerate(spans)
            ]
        say("sources", hits=hits)
        if told.fail:
            reply["state"] = "failed"
            say("error", code=told.fail[0], message=told.fail[1])
            return
        words = "I could not find that in your documents." if declined else f"Your document says: {hits[0]['text']} [1]"
        for index, word in enumerate(re.findall(r"\S+\s*", words)):
            if told.restart and index == 3:
                say("restarted", attempt=2, reason="the run host died")
                say("delta", text=words[: words.index(word)])
            if run["stop"]:
                reply["state"] = "stopped"
                say("done", state="stopped", text=reply["text"], citations=[])
                return
            reply["text"] += word
            say("delta", text=word)
            time.sleep(told.delay_s)
        citations = (
            []
            if declined
            else [place | {"number": 1, "start": hits[0]["start"], "end": hits[0]["end"], "quote": hits[0]["text"]}]
        )
        say("citations", citations=citations, text=words)
        reply |= {"text": words, "citations": citations, "state": "done"}
        say("done", state="done", finish_reason="stop", text=words, citations=citations, grounded=not declined)
        self.feed.tell("message", reply["id"], "update", reply["conversation_id"])


def _page(items: Any) -> dict[str, Any]:
    return {"items": list(items), "next": None}


class _Handler(BaseHTTPRequestHandler):
    instance: FakeInstance
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", PAGE_POLICY)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value: Any, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), "application/json")

    def refuse(self, status: int, code: str) -> None:
        self.json({"error": {"code": code, "message": code.replace("_", " ")}}, status)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlparse(self.path)
        if url.path == "/ws":
            self.instance.feed.serve(self)
        elif not url.path.startswith("/api/"):
            self.file(url.path)
        elif self.headers.get("Authorization") not in (f"Bearer {KEY}", f"Bearer {OTHER_KEY}"):
            self.refuse(401, "unauthorized")
        else:
            self.api(url.path.split("/")[2:], {k: v[0] for k, v in parse_qs(url.query).items()}, body)

    do_GET = do_POST = do_DELETE = handle_any

    def file(self, path: str) -> None:
        found = self.instance.dist / (path.lstrip("/") or "index.html")
        if found.is_file():
            self.send(200, found.read_bytes(), TYPES.get(found.suffix, "application/octet-stream"))
        else:
            self.refuse(404, "not_found")

    def api(self, parts: list[str], given: dict[str, str], body: bytes) -> None:
        one, told = self.instance, self.instance.told
        one.asked.append(" ".join((self.command, *parts)))
        about_alerts = one.alerts.answer(self.command, parts, given, body) if one.owner else None
        if about_alerts is not None:
            self.json(*about_alerts)
            return
        match (self.command, *parts):
            case ("GET", "me"):
                self.json({"user": {"id": "owner", "name": "owner"}})
            case ("GET", "models"):
                language = {
                    "role": "language",
                    "model_id": "fake",
                    "phase": told.phase,
                    "progress": told.progress,
                    "detail": "",
                }
                self.json([language, EMBEDDING])
            case ("POST", "models", "language", "warm"):
                self.json({"status": "asked"}, 202)
            case ("POST", "ws-ticket") if one.feed.stands:
                self.json({"ticket": one.feed.ticket(), "expires_in_s": 30.0}, 201)
            case (_, "watches" | "alerts" | "silences" | "channels", *_) if not one.owner:
                self.refuse(403, "forbidden")
            case ("GET", "watches"):
                self.json(_page(one.watches.values()))
            case ("POST", "watches"):
                path = json.loads(body)["path"]
                if path in [state["watch"]["path"] for state in one.watches.values()]:
                    self.refuse(409, "conflict")
                elif not path.startswith("/"):
                    self.refuse(400, "invalid_request")
                else:
                    self.json(one.watch(path)["watch"], 201)
            case ("DELETE", "watches", id):
                del one.watches[id]
                self.json({"id": id})
            case ("GET", "projects"):
                name = "theirs" if OTHER_KEY in self.headers["Authorization"] else "default"
                self.json(_page([{"id": "prj_1", "name": name, "documents": len(one.documents), "chunks": 0}]))
            case ("POST", "projects", _, "documents"):
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                part = next(p for p in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts() if p.get_filename())
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                self.json(one.add(part.get_filename() or "file", content), 202)
            case ("GET", "documents"):
                one.move()
                found = [d for d in one.documents.values() if given.get("state") in (None, d["state"])]
                begin, limit = int(given.get("after", 0)), int(given["limit"])
                more = str(begin + limit) if begin + limit < len(found) else None
                self.json(_page(found[begin : begin + limit]) | {"next": more})
            case ("DELETE", "documents", id):
                one.documents.pop(id, None)
                self.json({"id": id})
            case ("GET", "documents", id, "text"):
                text, start, end = one.texts[id], int(given["start"]), int(given["end"])
                end = min(end, len(text))
                title = one.documents[id]["title"]
                self.json(
                    {
                        "document_id": id,
                        "title": title,
                        "start": start,
                        "end": end,
                        "total": len(text),
                        "text": text[start:end],
                        "page": 1,
                    }
                )
            case ("GET", "jobs"):
                self.json(_page(one.jobs.values()))
            case ("POST", "jobs", id, "cancel"):
                one.jobs[id] |= {"state": "cancelled", "reason": "cancelled", "code": "cancelled"}
                self.json(one.jobs[id])
            case ("POST", "jobs", id, "retry") if one.jobs[id]["kind"] == "jsonl":
                one.jobs[id] |= {"state": "running", "reason": None, "code": None}
                self.json(one.jobs[id])
            case ("POST", "jobs", id, "retry"):
                one.documents[one.jobs[id]["document_id"]]["title"] = "opened.md"
                one.jobs[id]["state"] = "running"
                self.json(one.jobs[id])
            case ("GET", "conversations"):
                begin, limit = int(given.get("after", 0)), int(given["limit"])
                page = _page(list(one.conversations.values())[begin : begin + limit])
                self.json(page | {"next": str(begin + limit) if begin + limit < len(one.conversations) else None})
            case ("GET", "conversations", id, "messages"):
                self.json(_page(one.branch(id)))
            case ("POST", "conversations", id, "messages"):
                asked = json.loads(body)
                self.json(one.ask(id, asked["text"], asked.get("edits")), 202)
            case ("POST", "messages", id, "choose"):
                self.json(one.choose(id))
            case ("POST", "messages", id, "regenerate"):
                old = next(m for m in one.messages if m["id"] == id)
                question = next(m for m in one.messages if m["id"] == old["parent_id"])
                self.json(one.ask(old["conversation_id"], question["text"], again=question["id"]), 202)
            case ("POST", "runs", id, "stop"):
                one.runs[id]["stop"] = True
                self.json({"id": id})
            case ("GET", "runs", id, "events"):
                self.events(one.runs[id], int(given["after"]))
            case ("POST", "search"):
                text = next(iter(one.texts.values()), "")
                place = {"document_id": "doc_1", "title": "guide.md", "start": 0, "end": 80, "page": None}
                hit = place | {"chunk_id": 1, "text": text[:80], "score": 0.7, "heading_path": ["Guide"]}
                self.json({"hits": [hit] if text else [], "parts": ["lexical", "dense"], "degraded": None, "took_ms": 12.3})
            case _:
                self.refuse(404, "not_found")

    def events(self, run: dict[str, Any], after: int) -> None:
        """A follow: what there is after a number, then what comes, a heartbeat when nothing does."""
        self.instance.asked_after.append(after)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        sent = 0
        while True:
            for event in run["events"][after:]:
                after, sent = event["seq"], sent + 1
                self.wfile.write(f"event: {event['kind']}\ndata: {json.dumps(event)}\n\n".encode())
                if event["kind"] in ("done", "error") or sent == self.instance.told.break_after:
                    return
            self.wfile.flush()
            time.sleep(0.01)
