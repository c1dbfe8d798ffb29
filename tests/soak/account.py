"""Every acknowledged write is looked for: there once with what was written, or removed by a removal; nothing is there twice."""

import asyncio
import hashlib
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.soak.caller import Caller
from tests.soak.journal import Journal, Thing

SETTLE_S = 180.0  # how long jobs and watched folders may take to come to rest once the load is over
_LISTS = {"project": "/api/projects", "conversation": "/api/conversations", "document": "/api/documents", "key": "/api/keys"}
_NAMES = {"project": ("name",), "conversation": ("title",), "document": ("external_id",), "key": ("label",)}
_AT_ONCE = 4


@dataclass
class Account:
    """What was found wrong, in words; each list is empty when all is well."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)  # removed, acknowledged, and there again
    changed: list[str] = field(default_factory=list)  # there with something else in it
    unfound: list[str] = field(default_factory=list)  # there, and search does not know it
    looked_for: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.returned or self.changed or self.unfound)

    def add(self, other: "Account") -> None:
        for name in ("lost", "doubled", "returned", "changed", "unfound"):
            held = getattr(self, name)
            held.extend(each for each in getattr(other, name) if each not in held)
        self.looked_for += other.looked_for

    def told(self) -> dict[str, Any]:
        return asdict(self)


def compare(kind: str, things: list[tuple[Thing, bool, bool]], listed: list[tuple[str, str]]) -> Account:
    """Compare what the clients know with a list of (name, id). Of each thing: whether it was acknowledged before the list was read and
    whether its removal was acknowledged before. One whose removal has begun by now may be there or not; so may an unacknowledged one,
    but never twice."""
    account, counts, ids = Account(), Counter(name for name, _ in listed), defaultdict[str, set[str]](set)
    for name, id in listed:
        ids[name].add(id)
    for thing, made, removed in things:
        if counts[thing.name] > 1:
            account.doubled.append(f"{kind} {thing.name}: {sorted(ids[thing.name])}")
        if removed and counts[thing.name]:
            account.returned.append(f"{kind} {thing.name}: {sorted(ids[thing.name])}")
        if made and thing.removed is None:
            account.looked_for += 1
            if not counts[thing.name]:
                account.lost.append(f"{kind} {thing.name} ({thing.id}) is not there")
            elif thing.id and thing.id not in ids[thing.name]:
                account.lost.append(
                    f"{kind} {thing.name} was acknowledged as {thing.id}, and {sorted(ids[thing.name])} is there"
                )
    return account


class Accountant:
    """`quick` may be asked amid load; `whole` when it is over and the instance has come to rest."""

    def __init__(self, caller: Caller, journal: Journal, mark: str) -> None:
        self._caller, self._journal, self._mark = caller, journal, mark

    async def quick(self) -> Account:
        """Names and ids of everything that can be listed."""
        account = Account()
        for kind in _LISTS:
            account.add(await self._listed(kind))
        return account

    async def _listed(self, kind: str) -> Account:
        before = [(thing, thing.made == "acknowledged", thing.removed == "acknowledged") for thing in self._journal.all(kind)]
        if kind == "document":  # lines become documents in their own time
            before = [(thing, made and bool(thing.id), gone) for thing, made, gone in before]
        return compare(kind, before, _names(kind, await self._caller.everything(_LISTS[kind])))

    async def settle(self) -> list[str]:
        """Wait until no job is open and the watched folders are what was put there; what did not come to rest in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_S
        while True:
            restless = [
                f"job {job['id']} is {job['state']}: {job.get('reason')}"
                for state in ("queued", "running")
                for job in await self._caller.everything("/api/jobs", state=state)
            ]
            titles = Counter(document["title"] for document in await self._caller.everything("/api/documents"))
            wanted = list(self._journal.all("watched"))
            restless += [
                f"the file {each.others['title']} is not there"
                for each in wanted
                if each.lives and not titles[each.others["title"]]
            ]
            restless += [
                f"the file {each.others['title']} was removed and is there"
                for each in wanted
                if each.removed and titles[each.others["title"]]
            ]
            if not restless or loop.time() > until:
                return restless
            await asyncio.sleep(1.0)

    async def whole(self) -> Account:
        """All of it, with what is in it, and by search."""
        account = Account()
        for kind in ("project", "conversation", "key"):
            account.add(await self._listed(kind))
        listed = await self._caller.everything("/api/documents")
        known = [
            (thing, thing.made == "acknowledged", thing.removed == "acknowledged") for thing in self._journal.all("document")
        ]
        account.add(compare("document", known, _names("document", listed)))
        by_name, by_id = {each["external_id"]: each for each in listed}, {each["id"]: each for each in listed}
        await self._each(account, [each for each in self._journal.all("document") if each.lives], by_name)
        for sample in self._journal.all("sample"):
            if sample.lives and sample.id not in by_id:
                account.lost.append(f"sample {sample.name} ({sample.id}) is not there")
            elif sample.lives and by_id[sample.id]["blob_hash"] != sample.sha256:
                account.changed.append(f"sample {sample.name}: {by_id[sample.id]['blob_hash']} is kept of {sample.sha256}")
        titles = {each["id"]: each["title"] for each in await self._caller.everything("/api/conversations")}
        for thing in self._journal.all("conversation"):
            allowed = (thing.others["title"], thing.others.get("perhaps"))
            if thing.lives and thing.id in titles and titles[thing.id] not in allowed:
                account.changed.append(f"conversation {thing.name} is called {titles[thing.id]!r}")
        await self._messages(account)
        return account

    async def _each(self, account: Account, things: list[Thing], listed: dict[str, dict[str, Any]]) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(thing: Thing) -> None:
            document = listed.get(thing.name)
            if document is None:
                return  # it is counted as lost
            async with gate:
                await self._look(account, thing, document)

        await asyncio.gather(*(look(thing) for thing in things))

    async def _look(self, account: Account, thing: Thing, document: dict[str, Any]) -> None:
        id = document["id"]
        if document["state"] != "indexed":
            account.changed.append(f"document {thing.name} ({id}) is {document['state']}: {document.get('reason')}")
            return
        if thing.sha256:
            answer = await self._caller.ask("file", "GET", f"/api/documents/{id}/file")
            if hashlib.sha256(answer.content).hexdigest() != thing.sha256:
                account.changed.append(
                    f"document {thing.name} ({id}): its file is another, {answer.status_code}, {len(answer.content)} bytes"
                )
        answer = await self._caller.ask("text", "GET", f"/api/documents/{id}/text")
        if not answer.is_success or thing.mark not in answer.json()["text"]:
            account.changed.append(f"document {thing.name} ({id}): {thing.mark} is not in its text, {answer.status_code}")
        answer = await self._caller.ask("search", "POST", "/api/search", json={"query": thing.mark, "k": 5})
        found = answer.json()
        if id not in [hit["document_id"] for hit in found["hits"]]:
            account.unfound.append(f"document {thing.name} ({id}): {thing.mark} does not find it, by {found.get('parts')}")

    async def _messages(self, account: Account) -> None:
        """Every question that was acknowledged, on whichever branch; each has one answer at most that began."""
        by_conversation = defaultdict[str, list[Thing]](list)
        for thing in self._journal.all("message"):
            if thing.lives:
                by_conversation[thing.others["conversation"]].append(thing)
        for conversation, things in by_conversation.items():
            for thing in things:
                page = await self._caller.everything(f"/api/conversations/{conversation}/messages", leaf=thing.id)
                held = [message for message in page if message["id"] == thing.id]
                account.looked_for += 1
                if not held:
                    account.lost.append(f"message {thing.name} ({thing.id}) of {conversation} is not there")
                elif held[0]["text"] != thing.others["text"]:
                    account.changed.append(f"message {thing.name} ({thing.id}) says {held[0]['text']!r}")
                if len([m for m in page if m["role"] == "user" and m["text"] == thing.others["text"]]) > 1:
                    account.doubled.append(f"message {thing.name} of {conversation}")


def _names(kind: str, listed: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(name, id); of a conversation that was renamed its first name, and of keys those that were not revoked."""
    (column,) = _NAMES[kind]
    return [(str(each[column]).split(" ")[0], each["id"]) for each in listed if not each.get("revoked_at")]
