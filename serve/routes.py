"""Every route on one page, with what a key must allow. A route that is not here lets nobody in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match

from perenne.errors import NotFound
from perenne.messages.alerts import Alert, Channel, Delivery, Silence, Subscriber, Trial
from perenne.messages.backups import Backup, RestoreSteps, Schedule
from perenne.messages.commands import Deleted, MessagePosted
from perenne.messages.health import TreeStatus
from perenne.messages.models import ModelState
from perenne.messages.records import Conversation, Document, DocumentText, Key, Message, Page, Project, Run, Watch, WatchState
from perenne.messages.search import SearchResponse
from serve import (
    access_keys,
    alerts,
    backups,
    conversations,
    documents,
    house,
    jobs,
    openai_chat,
    openai_completions,
    openai_files,
    openai_models,
    openai_responses,
    openai_store_files,
    openai_stores,
    projects,
    reference,
    runs,
    searching,
    tus,
    uploads,
    watches,
)
from serve.guard import Access
from serve.openai_chat_views import ChatCompletion, ChatPiece, TextCompletion, TextPiece
from serve.openai_response_views import InputItemList, ResponseDeleted, ResponseEvent, ResponseObject
from serve.openai_store_views import (
    FileBatch,
    StoreFile,
    StoreFileContent,
    StoreFileList,
    StoreFileRemoved,
    StoreHits,
    VectorStore,
    VectorStoreDeleted,
    VectorStoreList,
)
from serve.openai_views import EmbeddingList, FileDeleted, FileList, FileObject, ModelList, ModelObject
from serve.views import DocumentAddedView, JobView, KeyMade, Me, Ticket, UploadView


@dataclass(frozen=True, slots=True)
class Line:
    """`answer`: the type of the body, for the OpenAPI document; `shown`: whether it is in there."""

    method: str
    path: str
    access: Access
    route: Callable[..., Any]
    answer: Any = None
    status: int = 200
    body: Literal["file", "document", "purpose", "bytes"] | None = None  # multipart with a file and which fields; bytes alone
    shown: bool = True
    kind: str = "application/json"
    also: tuple[tuple[int, str], ...] = ()  # other statuses with the same body
    refusals: tuple[tuple[int, str], ...] = ()  # beyond those that every route has
    headers: tuple[str, ...] = ()  # that it reads, beside those of every route; `serve.document` describes each
    pieces: Any = None  # the type of each event's data, when the body asks for a stream
    ending: str | None = None  # the data of a stream's last event, which is no JSON


async def nothing_here(request: Request, rest: str = "") -> None:
    """What no route has, for a caller with a key: 405 where the path has other methods, else 404."""
    near = (route for route in request.app.routes if route.matches(request.scope)[0] is Match.PARTIAL)
    if allowed := {method for route in near for method in route.methods}:
        raise HTTPException(405, f"the methods here are {', '.join(sorted(allowed))}", {"Allow": ", ".join(sorted(allowed))})
    raise NotFound("route", rest)


_P, _D, _C = "/api/projects/{project}", "/api/documents/{document_id}", "/api/conversations/{conversation_id}"
_S = "/v1/vector_stores/{store_id}"
_B = f"{_S}/file_batches/{{batch}}"
_R = "/v1/responses/{response}"
_EVENTS = "text/event-stream"
_END = "[DONE]"
_U = f"{_P}/uploads/{{upload_id}}"
_TUS = ((412, "Tus-Resumable is not 1.0.0."),)
_TUS_BYTES = (
    *_TUS,
    (415, "Content-Type is another than application/offset+octet-stream."),
    (409, "The upload does not stand at this offset."),
    (460, "The checksum is another."),
)
_CONFLICT = (409, "It conflicts with what is there.")
_DISK = (507, "The disk is full or failed; nothing was kept.")
_TARGET = (507, "The backups' target can't be read.")
_WRITES = (_CONFLICT, _DISK)  # of `/v1`: there it says only where
_BEGIN = ("Tus-Resumable", "Upload-Length", "Upload-Metadata")
_GO_ON = ("Tus-Resumable", "Upload-Offset", "Upload-Checksum", "Perenne-Password")
_BY_POST = (*_GO_ON, "X-HTTP-Method-Override")
_THERE = ((200, "It is there already: the first document."),)

TABLE: tuple[Line, ...] = (
    Line("GET", "/livez", "open", house.livez),
    Line("GET", "/readyz", "open", house.readyz, also=((503, "It is not up yet, or no more; see Retry-After."),)),
    Line("GET", "/docs", "open", reference.reference, shown=False),
    Line("GET", "/docs/{name}", "open", reference.reference_file, shown=False),
    Line("GET", "/api/projects", "read", projects.list_projects, Page[Project]),
    Line("POST", "/api/projects", "write", projects.create_project, Project, 201),
    Line("GET", _P, "read", projects.get_project, Project),
    Line("PATCH", _P, "write", projects.rename_project, Project),
    Line("DELETE", _P, "write", projects.delete_project, Deleted),
    Line("GET", f"{_P}/documents", "read", documents.list_project_documents, Page[Document]),
    Line("POST", f"{_P}/documents", "write", uploads.add_document, DocumentAddedView, 202, body="document", also=_THERE),
    Line("POST", f"{_P}/jsonl", "write", uploads.add_json_lines, JobView, 202, body="file"),
    Line("OPTIONS", f"{_P}/uploads", "write", tus.upload_options, status=204),
    Line("GET", f"{_P}/uploads", "read", tus.list_uploads, Page[UploadView]),
    Line(
        "POST", f"{_P}/uploads", "write", tus.create_upload, UploadView, 201, refusals=(*_TUS, _TUS_BYTES[-1]), headers=_BEGIN
    ),
    Line("GET", _U, "write", tus.get_upload, UploadView, refusals=_TUS_BYTES[2:]),
    Line("HEAD", _U, "write", tus.upload_offset, status=204, refusals=_TUS_BYTES, headers=_GO_ON[:1]),
    Line("PATCH", _U, "write", tus.append_to_upload, status=204, body="bytes", refusals=_TUS_BYTES, headers=_GO_ON),
    Line("POST", _U, "write", tus.append_by_post, status=204, body="bytes", refusals=_TUS_BYTES, headers=_BY_POST),
    Line("DELETE", _U, "write", tus.drop_upload, status=204, refusals=_TUS, headers=_GO_ON[:1]),
    Line("GET", "/api/watches", "admin", watches.list_watches, Page[WatchState]),
    Line("POST", "/api/watches", "admin", watches.add_watch, Watch, 201),
    Line("DELETE", "/api/watches/{watch_id}", "admin", watches.remove_watch, Deleted),
    Line("GET", "/api/documents", "read", documents.list_documents, Page[Document]),
    Line("GET", _D, "read", documents.get_document, Document),
    Line("DELETE", _D, "write", documents.delete_document, Deleted),
    Line("GET", f"{_D}/text", "read", documents.get_document_text, DocumentText),
    Line("GET", f"{_D}/file", "read", documents.get_document_file, kind="*/*"),
    Line("POST", f"{_D}/projects", "write", documents.link_document, Document),
    Line("DELETE", f"{_D}/projects/{{project}}", "write", documents.unlink_document, Document),
    Line("POST", "/api/search", "read", searching.search, SearchResponse),
    Line("GET", "/api/jobs", "read", jobs.list_jobs, Page[JobView]),
    Line("GET", "/api/jobs/{job_id}", "read", jobs.get_job, JobView),
    Line("POST", "/api/jobs/{job_id}/cancel", "write", jobs.cancel_job, JobView),
    Line("POST", "/api/jobs/{job_id}/retry", "write", jobs.retry_job, JobView),
    Line("GET", "/api/conversations", "read", conversations.list_conversations, Page[Conversation]),
    Line("POST", "/api/conversations", "write", conversations.create_conversation, Conversation, 201),
    Line("GET", _C, "read", conversations.get_conversation, Conversation),
    Line("PATCH", _C, "write", conversations.rename_conversation, Conversation),
    Line("DELETE", _C, "write", conversations.delete_conversation, Deleted),
    Line("GET", f"{_C}/messages", "read", conversations.list_messages, Page[Message]),
    Line("POST", f"{_C}/messages", "write", conversations.post_message, MessagePosted, 202),
    Line("POST", "/api/messages/{message_id}/regenerate", "write", conversations.regenerate, MessagePosted, 202),
    Line("POST", "/api/messages/{message_id}/choose", "write", conversations.choose_branch, Conversation),
    Line("GET", "/api/runs/{run_id}", "read", runs.get_run, Run),
    Line("GET", "/api/runs/{run_id}/events", "read", runs.run_events, kind=_EVENTS),
    Line("POST", "/api/runs/{run_id}/stop", "write", runs.stop_run, Run),
    Line("GET", "/api/backups", "admin", backups.list_backups, list[Backup], refusals=(_TARGET,)),
    Line("POST", "/api/backups", "admin", backups.create_backup, Schedule, 202),
    Line("POST", "/api/backups/drill", "admin", backups.drill_backup, Schedule, 202),
    Line("GET", "/api/backups/{backup_id}/restore", "admin", backups.restore_steps, RestoreSteps, refusals=(_TARGET,)),
    Line("POST", "/api/backups/{backup_id}/verify", "admin", backups.verify_backup, Schedule, 202),
    Line("GET", "/api/schedules", "admin", backups.list_schedules, list[Schedule]),
    Line("GET", "/api/alerts", "admin", alerts.list_alerts, Page[Alert]),
    Line("POST", "/api/alert-tests", "admin", alerts.send_test, Alert, 202),
    Line("GET", "/api/alerts/{alert_id}", "admin", alerts.get_alert, Alert),
    Line("POST", "/api/alerts/{alert_id}/acknowledge", "admin", alerts.acknowledge_alert, Alert),
    Line("GET", "/api/silences", "admin", alerts.list_silences, list[Silence]),
    Line("POST", "/api/silences", "admin", alerts.create_silence, Silence, 201),
    Line("DELETE", "/api/silences/{silence_id}", "admin", alerts.delete_silence, Deleted),
    Line("GET", "/api/channels", "admin", alerts.list_channels, list[Channel]),
    Line("POST", "/api/channels/{channel_id}/test", "admin", alerts.try_channel, Trial),
    Line("DELETE", "/api/channels/{channel_id}", "admin", alerts.delete_channel, Deleted),
    Line("GET", "/api/subscribers", "admin", alerts.list_subscribers, list[Subscriber]),
    Line("POST", "/api/subscribers", "admin", alerts.create_subscriber, Subscriber, 201),
    Line("DELETE", "/api/subscribers/{subscriber_id}", "admin", alerts.delete_subscriber, Deleted),
    Line("GET", "/api/deliveries", "admin", alerts.list_deliveries, Page[Delivery]),
    Line("POST", "/api/deliveries/{delivery_id}/redeliver", "admin", alerts.redeliver, Delivery, 202),
    Line("GET", "/api/keys", "admin", access_keys.list_keys, list[Key]),
    Line("POST", "/api/keys", "admin", access_keys.create_key, KeyMade, 201),
    Line("DELETE", "/api/keys/{key_id}", "admin", access_keys.revoke_key, Key),
    Line("POST", "/api/ws-ticket", "read", access_keys.issue_ticket, Ticket, 201),
    Line("GET", "/api/me", "read", house.get_me, Me),
    Line("GET", "/api/status", "read", house.get_status, TreeStatus),
    Line("GET", "/api/models", "read", house.list_models, list[ModelState]),
    Line("POST", "/api/models/language/warm", "read", house.warm_language, status=202),
    Line("GET", "/v1/models", "read", openai_models.list_models, ModelList),
    Line("GET", "/v1/models/{model:path}", "read", openai_models.get_model, ModelObject),
    Line(
        "POST",
        "/v1/chat/completions",
        "read",
        openai_chat.chat_completions,
        ChatCompletion,
        pieces=ChatPiece,
        ending=_END,
        refusals=_WRITES,
    ),
    Line("POST", "/v1/completions", "read", openai_completions.completions, TextCompletion, pieces=TextPiece, ending=_END),
    Line("POST", "/v1/embeddings", "read", openai_models.embeddings, EmbeddingList),
    Line(
        "POST",
        "/v1/responses",
        "read",
        openai_responses.create_response,
        ResponseObject,
        pieces=ResponseEvent,
        refusals=_WRITES,
    ),
    Line("GET", _R, "read", openai_responses.get_response, ResponseObject),
    Line("DELETE", _R, "write", openai_responses.delete_response, ResponseDeleted, refusals=_WRITES),
    Line("POST", f"{_R}/cancel", "write", openai_responses.cancel_response, ResponseObject, refusals=_WRITES),
    Line("GET", f"{_R}/input_items", "read", openai_responses.list_input_items, InputItemList),
    Line("GET", "/v1/files", "read", openai_files.list_files, FileList),
    Line("POST", "/v1/files", "write", openai_files.create_file, FileObject, body="purpose", refusals=_WRITES),
    Line("GET", "/v1/files/{file_id}", "read", openai_files.get_file, FileObject),
    Line("DELETE", "/v1/files/{file_id}", "write", openai_files.delete_file, FileDeleted, refusals=_WRITES),
    Line("GET", "/v1/files/{file_id}/content", "read", openai_files.get_file_content, kind="*/*", refusals=(_DISK,)),
    Line("GET", "/v1/vector_stores", "read", openai_stores.list_stores, VectorStoreList),
    Line("POST", "/v1/vector_stores", "write", openai_stores.create_store, VectorStore, refusals=_WRITES),
    Line("GET", _S, "read", openai_stores.get_store, VectorStore),
    Line("POST", _S, "write", openai_stores.change_store, VectorStore, refusals=_WRITES),
    Line("DELETE", _S, "write", openai_stores.delete_store, VectorStoreDeleted, refusals=_WRITES),
    Line("POST", f"{_S}/search", "read", openai_stores.search_store, StoreHits),
    Line("GET", f"{_S}/files", "read", openai_store_files.list_store_files, StoreFileList),
    Line("POST", f"{_S}/files", "write", openai_store_files.add_store_file, StoreFile, refusals=_WRITES),
    Line("GET", f"{_S}/files/{{file_id}}", "read", openai_store_files.get_store_file, StoreFile),
    Line("POST", f"{_S}/files/{{file_id}}", "write", openai_store_files.change_store_file, StoreFile),
    Line(
        "DELETE", f"{_S}/files/{{file_id}}", "write", openai_store_files.remove_store_file, StoreFileRemoved, refusals=_WRITES
    ),
    Line("GET", f"{_S}/files/{{file_id}}/content", "read", openai_store_files.get_store_file_content, StoreFileContent),
    Line("POST", f"{_S}/file_batches", "write", openai_store_files.add_batch, FileBatch, refusals=_WRITES),
    Line("GET", _B, "read", openai_store_files.get_batch, FileBatch),
    Line("POST", f"{_B}/cancel", "write", openai_store_files.cancel_batch, FileBatch, refusals=(_CONFLICT,)),
    Line("GET", f"{_B}/files", "read", openai_store_files.list_batch_files, StoreFileList),
)

# What is not one function for one method: WebSockets, the document, the rest.
OTHERS: dict[str, Access] = {
    "/ws": "read",
    "/openapi.json": "open",
    "/api/{rest:path}": "read",
    "/v1/{rest:path}": "read",
    "": "open",
}
