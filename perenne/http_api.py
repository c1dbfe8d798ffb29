"""The client over HTTP: needs an address and a key, and nothing of Ray."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from perenne import names
from perenne.api import Perenne, Progress
from perenne.api import decode as decoded
from perenne.errors import Busy, DeadlineExceeded, Unavailable
from perenne.http_errors import NotPerenne, address_of, described, error_of
from perenne.http_uploads import PiecedUpload, is_large
from perenne.ids import new_id
from perenne.messages.commands import DocumentAdded, MessagePosted
from perenne.messages.health import TreeStatus
from perenne.messages.models import ModelState
from perenne.messages.records import (
    Change,
    Conversation,
    Document,
    DocumentText,
    Job,
    Key,
    Message,
    Page,
    Project,
    Run,
    RunEvent,
    RunOptions,
    Scope,
    Watch,
    WatchState,
)
from perenne.messages.search import Filters, SearchResponse

DEADLINE_S = 30.0  # how long one call is tried, under one id
_LARGE_PATIENCE = 4  # times as long for a large file: a restart of the whole instance may take half a minute
_CONNECT_S = 5.0
_READ_S = 30.0
_AGAIN = retry_if_exception_type((Unavailable, Busy, DeadlineExceeded))
_RUN_ENDS = ("done", "error")  # kinds of events
_OTHERS = (
    "[SSL",
    "illegal status line",
    "illegal header line",
)  # in what httpx says when the other side speaks another protocol
_CLOSED = ("done", "failed", "stopped")  # states of runs


def decode(kind: Any, value: Any) -> Any:
    """See `perenne.api.decode`; what does not fit came from another server than ours, or from a much older or newer one."""
    try:
        return decoded(kind, value)
    except ValueError as error:  # pydantic's own is one
        raise NotPerenne("the address", f"an answer that is no {getattr(kind, '__name__', kind)}") from error


class HttpPerenne(Perenne):
    """See `Perenne`. `address` such as ``http://127.0.0.1:8000``."""

    def __init__(self, address: str, key: str | None, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s, self._key = deadline_s, key
        self._http = httpx.AsyncClient(
            base_url=address.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def _once(self, method: str, path: str, **options: Any) -> Any:
        response = await self._answer(method, path, **options)
        return _json(response) if response.content else None

    async def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(str(self._http.base_url), _READ_S) from error
        except httpx.TransportError as error:
            if any(sign in str(error) for sign in _OTHERS):
                raise NotPerenne(str(self._http.base_url), f"what is no HTTP of ours: {error}") from error
            raise Unavailable(str(self._http.base_url), 1.0, str(error) or type(error).__name__) from error
        if not response.is_success:
            raise error_of(response)
        return response

    async def _send(self, method: str, path: str, **options: Any) -> Any:
        """One request, again under the same id while the server is away or busy, until the deadline."""
        headers = {} if method == "GET" else {"Idempotency-Key": new_id("cmd")}
        async for attempt in AsyncRetrying(
            retry=_AGAIN, stop=stop_after_delay(self._deadline_s), wait=wait_random_exponential(0.1, max=2.0), reraise=True
        ):
            with attempt:
                return await self._once(method, path, headers=headers, **options)
        raise AssertionError("unreachable: tenacity reraises")

    async def _get(self, kind: Any, path: str, **query: Any) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        return decode(kind, await self._send("GET", path, params=given))

    # Projects

    async def projects(self) -> tuple[Project, ...]:
        found: list[Project] = []
        after: str | None = None
        while True:
            page: Page[Project] = await self._get(Page[Project], "/api/projects", limit=500, after=after)
            found.extend(page.items)
            if page.next is None:
                return tuple(found)
            after = page.next

    async def project(self, project: str) -> Project:
        return await self._get(Project, f"/api/projects/{_quoted(project)}")

    async def create_project(self, name: str) -> Project:
        return decode(Project, await self._send("POST", "/api/projects", json={"name": name}))

    async def rename_project(self, project: str, name: str) -> Project:
        return decode(Project, await self._send("PATCH", f"/api/projects/{_quoted(project)}", json={"name": name}))

    async def delete_project(self, project: str) -> None:
        await self._send("DELETE", f"/api/projects/{_quoted(project)}")

    # Documents and jobs

    async def _upload(self, url: str, path: Path, fields: dict[str, str | None], on_progress: Progress | None) -> Any:
        """Send a file as multipart, from its start again when the connection broke: the id makes that harmless."""
        given = {name: value for name, value in fields.items() if value is not None}
        headers = {"Idempotency-Key": new_id("cmd")}
        total = (await asyncio.to_thread(path.stat)).st_size
        async for attempt in AsyncRetrying(
            retry=_AGAIN, stop=stop_after_delay(self._deadline_s), wait=wait_random_exponential(0.1, max=2.0), reraise=True
        ):
            with attempt, await asyncio.to_thread(path.open, "rb") as file:
                reader = _Counted(file, total, on_progress)
                files = {"file": (path.name, reader, "application/octet-stream")}
                return await self._once("POST", url, data=given, files=files, headers=headers)
        raise AssertionError("unreachable: tenacity reraises")

    async def add(
        self,
        path: Path,
        project: str,
        *,
        title: str | None = None,
        external_id: str | None = None,
        password: str | None = None,
        on_progress: Progress | None = None,
    ) -> DocumentAdded:
        where = f"/api/projects/{_quoted(project)}"
        if await is_large(path):
            pieces = PiecedUpload(path, where, self._tus, _LARGE_PATIENCE * self._deadline_s, on_progress)
            return decode(DocumentAdded, (await pieces.add("document", title, external_id, password))["added"])
        fields = {"title": title, "external_id": external_id, "password": password}
        return decode(DocumentAdded, await self._upload(f"{where}/documents", path, fields, on_progress))

    async def _tus(
        self, method: str, path: str, again_for_s: float, headers: dict[str, str] | None = None, **options: Any
    ) -> Any:
        """A request of `PiecedUpload`: JSON where there is some, else the headers of the answer."""
        given = {"Idempotency-Key": new_id("cmd"), **(headers or {})} if method == "POST" else headers
        async for attempt in AsyncRetrying(
            retry=_AGAIN, stop=stop_after_delay(again_for_s), wait=wait_random_exponential(0.1, max=2.0), reraise=True
        ):
            with attempt:
                response = await self._answer(method, path, headers=given, **options)
                return _json(response) if response.content else response.headers
        raise AssertionError("unreachable: tenacity reraises")

    async def add_jsonl(self, path: Path, project: str, *, on_progress: Progress | None = None) -> Job:
        where = f"/api/projects/{_quoted(project)}"
        if await is_large(path):
            pieces = PiecedUpload(path, where, self._tus, _LARGE_PATIENCE * self._deadline_s, on_progress)
            return decode(Job, (await pieces.add("jsonl"))["job"])
        return decode(Job, await self._upload(f"{where}/jsonl", path, {}, on_progress))

    async def documents(self, project: str | None = None, *, limit: int = 100, after: str | None = None) -> Page[Document]:
        return await self._get(Page[Document], "/api/documents", project=project, limit=limit, after=after)

    async def document(self, document_id: str) -> Document:
        return await self._get(Document, f"/api/documents/{_quoted(document_id)}")

    async def document_text(self, document_id: str, start: int = 0, end: int | None = None) -> DocumentText:
        return await self._get(DocumentText, f"/api/documents/{_quoted(document_id)}/text", start=start, end=end)

    async def delete_document(self, document_id: str) -> None:
        await self._send("DELETE", f"/api/documents/{_quoted(document_id)}")

    async def jobs(self, project: str | None = None, *, limit: int = 100, after: str | None = None) -> Page[Job]:
        return await self._get(Page[Job], "/api/jobs", project=project, limit=limit, after=after)

    async def job(self, job_id: str) -> Job:
        return await self._get(Job, f"/api/jobs/{_quoted(job_id)}")

    async def cancel_job(self, job_id: str) -> Job:
        return decode(Job, await self._send("POST", f"/api/jobs/{_quoted(job_id)}/cancel"))

    async def retry_job(self, job_id: str, *, password: str | None = None) -> Job:
        body = {} if password is None else {"password": password}
        return decode(Job, await self._send("POST", f"/api/jobs/{_quoted(job_id)}/retry", json=body))

    # Search and answers

    async def watches(self) -> tuple[WatchState, ...]:
        return (await self._get(Page[WatchState], "/api/watches")).items

    async def add_watch(self, path: str, project: str, *, ignore: tuple[str, ...] = ()) -> Watch:
        body = {"path": path, "project": project, "ignore": list(ignore)}
        return decode(Watch, await self._send("POST", "/api/watches", json=body))

    async def remove_watch(self, watch_id: str) -> None:
        await self._send("DELETE", f"/api/watches/{watch_id}")

    async def search(
        self, query: str, project: str | None = None, *, k: int = 10, filters: Filters | None = None
    ) -> SearchResponse:
        body: dict[str, Any] = {"query": query, "k": k}
        if project is not None:
            body["project"] = project
        if filters is not None:
            body["filters"] = {
                "document_ids": filters.document_ids,
                "external_ids": filters.external_ids,
                "languages": filters.languages,
            }
        return decode(SearchResponse, await self._send("POST", "/api/search", json=body))

    async def conversations(
        self, project: str | None = None, *, limit: int = 50, after: str | None = None
    ) -> Page[Conversation]:
        return await self._get(Page[Conversation], "/api/conversations", project=project, limit=limit, after=after)

    async def messages(
        self, conversation_id: str, *, leaf: str | None = None, limit: int = 200, after: str | None = None
    ) -> Page[Message]:
        where = f"/api/conversations/{_quoted(conversation_id)}/messages"
        return await self._get(Page[Message], where, leaf=leaf, limit=limit, after=after)

    async def choose(self, message_id: str) -> Conversation:
        return decode(Conversation, await self._send("POST", f"/api/messages/{_quoted(message_id)}/choose"))

    async def delete_conversation(self, conversation_id: str) -> None:
        await self._send("DELETE", f"/api/conversations/{_quoted(conversation_id)}")

    async def post(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        project: str | None = None,
        parent: str | None = None,
        edits: str | None = None,
        options: RunOptions | None = None,
    ) -> MessagePosted:
        given = {"text": text, "project": project, "parent": parent, "edits": edits}
        body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if options is not None:
            body["options"] = options_body(options)
        where = f"/api/conversations/{_quoted(conversation_id or new_id('cnv'))}/messages"
        return decode(MessagePosted, await self._send("POST", where, json=body))

    async def regenerate(self, message_id: str, *, options: RunOptions | None = None) -> MessagePosted:
        body = {} if options is None else {"options": options_body(options)}
        return decode(MessagePosted, await self._send("POST", f"/api/messages/{_quoted(message_id)}/regenerate", json=body))

    async def run(self, run_id: str) -> Run:
        return await self._get(Run, f"/api/runs/{_quoted(run_id)}")

    async def events(self, run_id: str, after: int = 0) -> AsyncGenerator[RunEvent]:
        now = asyncio.get_running_loop().time
        last = after
        silent_since = now()
        while True:
            asked_at = now()
            try:
                async with aclosing(self._events_once(run_id, last)) as events:
                    async for event in events:
                        silent_since = now()
                        if event.kind == "heartbeat" or event.seq <= last:
                            continue
                        last = event.seq
                        yield event
                        if event.kind in _RUN_ENDS:
                            return
                run = await self.run(run_id)  # the stream ended well, without the run's end: there may be no more to say
                if run.state in _CLOSED and last >= run.events:
                    return
                if now() - asked_at > names.FOLLOW_SILENCE_S:
                    silent_since = now()  # signs of life kept it open that long
                elif now() - silent_since > self._deadline_s:
                    raise Unavailable(str(self._http.base_url), 1.0, f"it ends the events of run {run_id} again and again")
            except (Unavailable, DeadlineExceeded, Busy):
                if now() - silent_since > self._deadline_s:
                    raise
            await asyncio.sleep(0.3)

    async def _events_once(self, run_id: str, after: int) -> AsyncGenerator[RunEvent]:
        """One connection's worth of events; gives up after the promised silence."""
        timeout = httpx.Timeout(names.FOLLOW_SILENCE_S * 2, connect=_CONNECT_S)
        url = f"/api/runs/{_quoted(run_id)}/events"
        try:
            async with httpx_sse.aconnect_sse(self._http, "GET", url, params={"after": after}, timeout=timeout) as source:
                if not source.response.is_success:
                    await source.response.aread()
                    raise error_of(source.response)
                async for sent in source.aiter_sse():
                    if sent.data:
                        yield decode(RunEvent, sent.json())
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"run {run_id}", names.FOLLOW_SILENCE_S * 2) from error
        except (httpx.TransportError, httpx_sse.SSEError) as error:
            raise Unavailable(str(self._http.base_url), 1.0, str(error) or type(error).__name__) from error

    async def stop(self, run_id: str) -> Run:
        return decode(Run, await self._send("POST", f"/api/runs/{_quoted(run_id)}/stop"))

    def changes(self, after: int | None = None, *, origin: str | None = None) -> AsyncGenerator[Change]:
        from perenne.watching import ChangesOverSocket

        return ChangesOverSocket(str(self._http.base_url), self._key, after, origin, self._deadline_s).read()

    # The house

    async def status(self) -> TreeStatus:
        return await self._get(TreeStatus, "/api/status")

    async def models(self) -> tuple[ModelState, ...]:
        return await self._get(tuple[ModelState, ...], "/api/models")

    async def keys(self) -> tuple[Key, ...]:
        return await self._get(tuple[Key, ...], "/api/keys")

    async def create_key(
        self, label: str, scopes: Sequence[Scope] = ("read", "write"), *, project: str | None = None, days: float | None = None
    ) -> tuple[Key, str]:
        body = {"label": label, "scopes": list(scopes), "project": project, "days": days}
        made = await self._send("POST", "/api/keys", json={name: value for name, value in body.items() if value is not None})
        return decode(Key, made["key"]), made["secret"]

    async def revoke_key(self, key_id: str) -> Key:
        return decode(Key, await self._send("DELETE", f"/api/keys/{_quoted(key_id)}"))


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise NotPerenne(address_of(response), described(response)) from None


class _Counted:
    """A file whose reads are told to a progress callback."""

    def __init__(self, file: Any, total: int, on_progress: Progress | None) -> None:
        self._file, self._total, self._on_progress, self._sent = file, total, on_progress, 0

    def read(self, size: int = -1) -> bytes:
        piece: bytes = self._file.read(size)
        self._sent += len(piece)
        if piece and self._on_progress is not None:
            self._on_progress(self._sent, self._total)
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        self._sent = 0
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()


def _quoted(part: str) -> str:
    """One segment of a path, whatever is in it."""
    from urllib.parse import quote

    return quote(part, safe="")


def options_body(options: RunOptions) -> dict[str, Any]:
    """Run options as the body of a request: what differs from the default."""
    default = RunOptions()
    fields = ("grounded", "temperature", "top_p", "max_tokens", "seed", "stop", "k", "history")
    return {name: getattr(options, name) for name in fields if getattr(options, name) != getattr(default, name)}
