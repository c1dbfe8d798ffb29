"""One client: it does what was drawn for it, one operation after the other, and writes down what it was told."""

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx

from perenne.ids import new_id
from tests.soak import papers
from tests.soak.caller import Caller, Unanswered
from tests.soak.journal import Journal, Thing
from tests.soak.plan import Operation
from tests.soak.streams import faults_of, follow

AGAIN_SHARE = 0.3  # of the writes that are sent once more, as a client does whose answer was lost
BURST = 12
_GONE_WITHIN_S = 10.0  # a revoked key is out within a second everywhere; the edge may be on its way back
_PIECE_BYTES = 8 << 10
_ANSWER = {"grounded": False, "max_tokens": 24, "temperature": 0.0}
_LONG_ANSWER = {"grounded": False, "max_tokens": 160, "temperature": 0.0}


class Refused(Exception):
    """A request of ours that should have been taken was not."""


class Client:
    """`run` works through its operations until told to stop."""

    def __init__(self, number: int, mark: str, caller: Caller, journal: Journal, folder: Path, follow_s: float) -> None:
        self.number, self._mark, self._caller, self._journal = number, mark, caller, journal
        self._folder, self._follow_s = folder, follow_s
        self._home: Thing
        self.done = 0

    async def run(self, drawn: Iterator[Operation], stop: asyncio.Event) -> None:
        """Begin with a project of its own, which stays."""
        self._home = await self._project(f"{self._mark}-home-{self.number}", self._command("home"))
        for operation in drawn:
            if stop.is_set():
                return
            await self.do(operation)

    async def do(self, operation: Operation) -> None:
        """One operation; what it was not told counts for nothing, what it was refused is written down as wrong."""
        self._journal.note("operation", client=self.number, number=operation.number, kind=operation.kind)
        try:
            await getattr(self, f"_do_{operation.kind}")(operation)
        except Unanswered as error:
            self._journal.note("unanswered", client=self.number, number=operation.number, words=str(error))
        except Refused as error:
            self._journal.complain(f"client {self.number}, operation {operation.number} ({operation.kind}): {error}")
        self.done += 1

    # Words with the server

    def _command(self, of: object) -> str:
        return f"{self._mark}-{self.number}-{of}"

    def _name(self, operation: Operation, more: object = "") -> str:
        return f"{self._mark}-{self.number}-{operation.number}{more}"

    async def _said(self, kind: str, method: str, path: str, expected: tuple[int, ...] = (), **options: Any) -> Any:
        answer = await self._caller.ask(kind, method, path, **options)
        if not answer.is_success and answer.status_code not in expected:
            raise Refused(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer.json() if answer.is_success and answer.content else None

    async def _made(self, thing: Thing, operation: Operation | None, kind: str, path: str, **options: Any) -> Any:
        """Make a thing under an id of its own; some are sent once more, and the same has to come back."""
        command = self._command(f"{thing.name}-{new_id('cmd')}")
        self._journal.begin(thing, command)
        told = await self._said(kind, "POST", path, command=command, **options)
        self._journal.acknowledge(thing, _id(told))
        if operation is not None and random.Random(operation.draw).random() < AGAIN_SHARE:
            again = await self._said(kind, "POST", path, command=command, **options)
            if _id(again) != thing.id:
                self._journal.complain(f"{thing.name}: the same request made {thing.id} first and {_id(again)} then")
        return told

    async def _gone(self, thing: Thing, path: str) -> None:
        """Remove it. A repetition may find nothing any more, and says so."""
        self._journal.removing(thing)
        await self._said(f"delete {thing.kind}", "DELETE", path, command=self._command(new_id("cmd")), expected=(404,))
        self._journal.remove(thing)

    def _one(self, kind: str, operation: Operation) -> Thing | None:
        held = self._journal.of(self.number, kind)
        return held[int(operation.share * len(held))] if held else None

    # Projects and conversations

    async def _project(self, name: str, command: str) -> Thing:
        thing = self._journal.begin(Thing("project", name, self.number), command)
        told = await self._said("project", "POST", "/api/projects", command=command, json={"name": name})
        self._journal.acknowledge(thing, told["id"])
        return thing

    async def _do_project(self, operation: Operation) -> None:
        name = self._name(operation)
        thing = Thing("project", name, self.number)
        await self._made(thing, operation, "project", "/api/projects", json={"name": name})
        await self._add(operation, papers.paper(operation.draw, 2, "txt"), thing)

    async def _do_rename(self, operation: Operation) -> None:
        if (thing := self._one("conversation", operation)) is not None:
            title = thing.others["perhaps"] = f"{thing.name} renamed {operation.number}"
            path = f"/api/conversations/{thing.id}"
            await self._said("rename", "PATCH", path, command=self._command(new_id("cmd")), json={"title": title})
            thing.others["title"] = title
            self._journal.note("renamed", name=thing.name, title=title)

    async def _do_drop_project(self, operation: Operation) -> None:
        held = [each for each in self._journal.of(self.number, "project") if each is not self._home]
        if held:
            thing = held[int(operation.share * len(held))]
            await self._gone(thing, f"/api/projects/{thing.id}")

    async def _do_conversation(self, operation: Operation) -> None:
        await self._conversation(operation, self._name(operation))

    async def _conversation(self, operation: Operation, name: str) -> Thing:
        thing = Thing("conversation", name, self.number, others={"title": name})
        await self._made(thing, operation, "conversation", "/api/conversations", json={"title": name})
        return thing

    async def _do_burst(self, operation: Operation) -> None:
        """Many at once: some are under way at every moment in which something dies."""
        async with asyncio.TaskGroup() as group:
            for n in range(BURST):
                group.create_task(self._quietly(self._conversation(operation, self._name(operation, f"-{n}"))))

    async def _quietly(self, work: Coroutine[Any, Any, Thing]) -> None:
        with contextlib.suppress(Unanswered):
            await work

    async def _do_drop_conversation(self, operation: Operation) -> None:
        if (thing := self._one("conversation", operation)) is not None:
            await self._gone(thing, f"/api/conversations/{thing.id}")

    # Documents

    async def _add(self, operation: Operation, paper: papers.Paper, project: Thing, external: bool = True) -> Thing:
        name = self._name(operation, "-d")
        thing = Thing("document", name, self.number, mark=paper.mark, sha256=paper.sha256, inside=project.name)
        await self._made(
            thing, operation, "document", f"/api/projects/{project.id}/documents",
            files={"file": (paper.filename, paper.content)}, data={"external_id": name, "title": name},
        )  # fmt: skip
        return thing

    async def _do_document(self, operation: Operation) -> None:
        await self._add(operation, papers.paper(operation.draw), self._home)

    async def _do_sample(self, operation: Operation) -> None:
        """A real file; whatever becomes of it, its bytes stay as they are."""
        if found := papers.samples():
            path = found[int(operation.share * len(found))]
            content = await asyncio.to_thread(path.read_bytes)
            paper = papers.Paper(path.name, content, "", "")
            thing = Thing("sample", self._name(operation, "-s"), self.number, sha256=paper.sha256, inside=self._home.name)
            where = f"/api/projects/{self._home.id}/documents"
            await self._made(thing, operation, "document", where, files={"file": (path.name, content)})

    async def _do_lines(self, operation: Operation) -> None:
        name, many = self._name(operation, "-l"), 3 + int(operation.share * 6)
        content, made = papers.lines(operation.draw, name, many)
        job = Thing("job", name, self.number)
        told = [Thing("document", id, self.number, mark=mark, inside=self._home.name) for id, mark in made]
        for each in told:
            self._journal.begin(each, name)
        where = f"/api/projects/{self._home.id}/jsonl"
        await self._made(job, operation, "json lines", where, files={"file": (f"{name}.jsonl", content)})
        for each in told:
            self._journal.acknowledge(each, "")

    async def _do_drop_document(self, operation: Operation) -> None:
        held = [each for each in self._journal.of(self.number, "document") if each.id]
        if held:
            thing = held[int(operation.share * len(held))]
            await self._gone(thing, f"/api/documents/{thing.id}")

    async def _do_upload(self, operation: Operation) -> None:
        """In pieces by tus, some of which break off: what was acknowledged is never asked for again."""
        paper, name = papers.paper(operation.draw, 300, "txt"), self._name(operation, "-u")
        chance, where = random.Random(operation.draw), f"/api/projects/{self._home.id}/uploads"
        thing = Thing("document", name, self.number, mark=paper.mark, sha256=paper.sha256, inside=self._home.name)
        self._journal.begin(thing, name)
        tus = {"Tus-Resumable": "1.0.0"}
        words = {"filename": paper.filename, "title": name, "external_id": name}
        told = ",".join(f"{key} {_base64(value)}" for key, value in words.items())
        made = await self._said(
            "upload", "POST", where, command=self._command(f"{name}-tus"),
            headers={**tus, "Upload-Length": str(len(paper.content)), "Upload-Metadata": told},
        )  # fmt: skip
        path, offset = f"{where}/{made['id']}", int(made["offset"])
        while offset < len(paper.content):
            piece = paper.content[offset : offset + _PIECE_BYTES]
            sent = await self._piece(path, offset, piece, breaks_off=chance.random() < 0.3)
            if sent is None:
                answer = await self._caller.ask("upload", "HEAD", path, headers=tus)
                if answer.status_code == 409:  # the broken request still has it
                    await asyncio.sleep(0.2)
                    continue
                if not answer.is_success:
                    raise Refused(f"HEAD {path}: {answer.status_code}")
                sent = int(answer.headers["Upload-Offset"])
            if sent < offset:
                raise Refused(f"{path}: {offset} bytes were acknowledged, and {sent} are there")
            offset = sent
        done = await self._said("upload", "GET", path)
        if done.get("added"):
            self._journal.acknowledge(thing, done["added"]["document"]["id"])

    async def _piece(self, path: str, offset: int, piece: bytes, breaks_off: bool) -> int | None:
        async def half() -> AsyncIterator[bytes]:
            yield piece[: len(piece) // 2]
            await asyncio.sleep(0.02)
            raise httpx.WriteError("broken off on purpose")

        headers = self._caller.headers(
            None, Tus_Resumable="1.0.0", Upload_Offset=str(offset), Content_Type="application/offset+octet-stream",
            **({"Content_Length": str(len(piece))} if breaks_off else {}),
        )  # fmt: skip
        try:
            answer = await self._caller.http.patch(path, headers=headers, content=half() if breaks_off else piece)
        except httpx.TransportError:
            return None
        return int(answer.headers["Upload-Offset"]) if answer.status_code == 204 else None

    # Search

    async def _do_search(self, operation: Operation) -> None:
        query = papers.sentences(operation.draw, 1)[0]
        await self._said("search", "POST", "/api/search", json={"query": query, "project": self._home.id, "k": 10})

    async def _do_text_search(self, operation: Operation) -> None:
        if (thing := self._one("document", operation)) is not None:
            await self._said("search", "POST", "/api/search", json={"query": thing.mark, "k": 5})

    # Answers

    async def _post(self, operation: Operation, options: dict[str, Any], **more: Any) -> tuple[dict[str, Any], Thing]:
        held = self._journal.of(self.number, "conversation")
        conversation = (
            held[int(operation.share * len(held))] if held else await self._conversation(operation, self._name(operation))
        )
        text = f"{papers.sentences(operation.draw, 1)[0]} What happened then? ({self._name(operation)})"
        thing = Thing("message", self._name(operation, "-q"), self.number, inside=conversation.name, others={"text": text})
        seeded = {**options, "seed": operation.draw % (1 << 32)}
        path = f"/api/conversations/{conversation.id}/messages"
        command = self._command(f"{thing.name}-{new_id('cmd')}")
        self._journal.begin(thing, command)
        told = await self._said("post", "POST", path, command=command, json={"text": text, "options": seeded, **more})
        thing.others["conversation"] = conversation.id
        self._journal.acknowledge(thing, told["question"]["id"], run=told["run"]["id"])
        return told, conversation

    async def _watched(self, operation: Operation, posted: dict[str, Any], conversation: Thing) -> None:
        chance = random.Random(operation.draw)
        way, cuts = chance.choice(("sse", "ws")), [chance.randint(1, 6) for _ in range(chance.randint(0, 3))]
        seen = await follow(self._caller, posted["run"]["id"], way, cuts, self._follow_s)
        kept = seen if seen.end is None else await follow(self._caller, posted["run"]["id"], "sse", [], self._follow_s)
        messages = await self._caller.everything(f"/api/conversations/{conversation.id}/messages")
        text = next((each["text"] for each in messages if each["id"] == posted["reply"]["id"]), None)
        self._journal.note(
            "stream", run=seen.run_id, way=way, cuts=seen.cuts, events=len(seen.seqs), ended=seen.end and seen.end["kind"]
        )
        for words in faults_of(seen, kept, text):
            self._journal.complain(words)

    async def _do_ask(self, operation: Operation) -> None:
        posted, conversation = await self._post(operation, _ANSWER)
        await self._watched(operation, posted, conversation)

    async def _do_edit(self, operation: Operation) -> None:
        """Another wording of a question that was there: a branch beside it; the first is chosen again."""
        if (thing := self._one("message", operation)) is None:
            return
        conversation = self._journal.things[thing.inside]
        text = f"{thing.others['text']} And before? ({self._name(operation)})"
        branch = Thing("message", self._name(operation, "-e"), self.number, inside=conversation.name, others={"text": text})
        branch.others["conversation"] = conversation.id
        path = f"/api/conversations/{conversation.id}/messages"
        body = {"text": text, "edits": thing.id, "options": {**_ANSWER, "seed": 1}}
        command = self._command(f"{branch.name}-{new_id('cmd')}")
        self._journal.begin(branch, command)
        told = await self._said("post", "POST", path, command=command, json=body)
        self._journal.acknowledge(branch, told["question"]["id"], run=told["run"]["id"])
        await self._watched(operation, told, conversation)
        await self._said("choose", "POST", f"/api/messages/{thing.id}/choose", command=self._command(new_id("cmd")))

    async def _do_stop(self, operation: Operation) -> None:
        """A stop that was acknowledged ends the answer."""
        posted, conversation = await self._post(operation, _LONG_ANSWER)
        await asyncio.sleep(operation.share)
        path = f"/api/runs/{posted['run']['id']}/stop"
        await self._said("stop", "POST", path, command=self._command(new_id("cmd")))
        await self._watched(operation, posted, conversation)

    # Keys and watched folders

    async def _do_key(self, operation: Operation) -> None:
        name = self._name(operation, "-k")
        thing = self._journal.begin(Thing("key", name, self.number), name)
        body = {"label": name, "scopes": ["read"]}
        told = await self._said("key", "POST", "/api/keys", command=self._command(name), json=body)
        thing.others["secret"] = told["secret"]
        self._journal.acknowledge(thing, told["key"]["id"])

    async def _do_revoke(self, operation: Operation) -> None:
        if (thing := self._one("key", operation)) is None:
            return
        await self._gone(thing, f"/api/keys/{thing.id}")
        loop = asyncio.get_running_loop()
        until, secret = loop.time() + _GONE_WITHIN_S, thing.others["secret"]
        while True:
            answer = await self._caller.ask("key", "GET", "/api/me", headers={"Authorization": f"Bearer {secret}"})
            if answer.status_code == 401:
                return
            if loop.time() > until:
                raise Refused(f"the key {thing.name} was revoked and is still good after {_GONE_WITHIN_S:g} s")
            await asyncio.sleep(0.2)

    async def _do_watched(self, operation: Operation) -> None:
        """A file in a folder that is watched: nobody acknowledges it, and it has to be there in the end."""
        folder = self._folder / f"watched-{self.number}"
        if not folder.exists():
            await asyncio.to_thread(folder.mkdir)
            stays = papers.paper(operation.draw ^ 1, 1, "md")  # of a folder that is empty altogether the documents are kept
            await asyncio.to_thread((folder / stays.filename).write_bytes, stays.content)
            thing = Thing("watch", str(folder), self.number)
            await self._made(thing, None, "watch", "/api/watches", json={"path": str(folder), "project": self._home.id})
        paper = papers.paper(operation.draw, 2)
        file = Thing(
            "watched", f"{self.number}-{paper.filename}", self.number, mark=paper.mark, others={"title": paper.filename}
        )
        await asyncio.to_thread((folder / paper.filename).write_bytes, paper.content)
        self._journal.begin(file, "")
        self._journal.acknowledge(file, "")

    async def _do_unwatched(self, operation: Operation) -> None:
        if (thing := self._one("watched", operation)) is not None:
            self._journal.removing(thing)
            (self._folder / f"watched-{self.number}" / thing.others["title"]).unlink()
            self._journal.remove(thing)


def _id(told: dict[str, Any]) -> str:
    return str(told["document"]["id"] if "document" in told else told["id"])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
