"""From rows to the records that callers see."""

from typing import Any

import orjson

from perenne.decoding import adapter
from perenne.messages.records import (
    Chunk,
    Citation,
    Conversation,
    Document,
    Job,
    Key,
    Message,
    Project,
    Run,
    RunEvent,
    RunOptions,
    Usage,
    User,
    Watch,
)

_PLAIN_OPTIONS = orjson.dumps(RunOptions()).decode()


def encode(value: Any) -> str:
    """JSON text of records and plain data."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def user_of(row: Any) -> User:
    return User(id=row.id, name=row.name, created_at=row.created_at)


def key_of(row: Any) -> Key:
    return Key(
        id=row.id,
        user_id=row.user_id,
        label=row.label,
        scopes=tuple(orjson.loads(row.scopes)),
        project_id=row.project_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def project_of(row: Any) -> Project:
    return Project(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        created_at=row.created_at,
        documents=row.documents,
        chunks=row.chunks,
    )


def _details_of(row: Any) -> dict[str, Any]:
    return orjson.loads(row.details) if row.details else {}


def document_of(row: Any, project_ids: tuple[str, ...]) -> Document:
    return Document(
        id=row.id,
        user_id=row.user_id,
        title=row.title,
        external_id=row.external_id,
        filename=row.filename,
        media_type=row.media_type,
        blob_hash=row.blob_hash,
        size_bytes=row.size_bytes,
        language=row.language,
        pages=row.pages,
        chunks=row.chunks,
        characters=row.characters,
        state=row.state,
        reason=row.reason,
        code=row.code,
        details=_details_of(row),
        project_ids=project_ids,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def watch_of(row: Any) -> Watch:
    return Watch(
        id=row.id,
        user_id=row.user_id,
        project_id=row.project_id,
        path=row.path,
        ignore=tuple(orjson.loads(row.ignore)),
        created_at=row.created_at,
    )


def chunk_of(row: Any) -> Chunk:
    """A row of chunks joined with its document's `title` and `external_id`."""
    return Chunk(
        id=row.id,
        document_id=row.document_id,
        ordinal=row.ordinal,
        text=row.text,
        start=row.start,
        end=row.end,
        page=row.page,
        heading_path=tuple(orjson.loads(row.heading_path)) if row.heading_path else (),
        language=row.language,
        title=row.title,
        external_id=row.external_id,
    )


def job_of(row: Any, *, for_holder: bool = False) -> Job:
    """What the lease is is only for the worker that holds the job."""
    return Job(
        id=row.id,
        user_id=row.user_id,
        kind=row.kind,
        state=row.state,
        project_id=row.project_id,
        document_id=row.document_id,
        blob_hash=row.blob_hash,
        filename=row.filename,
        media_type=row.media_type,
        attempts=row.attempts,
        done=row.done,
        total=row.total,
        unit=row.unit,
        reason=row.reason,
        code=row.code,
        details=_details_of(row),
        checkpoint=row.checkpoint,
        open_document_id=row.open_document_id if for_holder else None,
        lease_token=row.lease_token if for_holder else None,
        lease_until=row.lease_until,
        result=orjson.loads(row.result),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def conversation_of(row: Any) -> Conversation:
    return Conversation(
        id=row.id,
        user_id=row.user_id,
        project_id=row.project_id,
        title=row.title,
        leaf_id=row.leaf_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def message_of(row: Any, siblings: tuple[str, ...] = ()) -> Message:
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        role=row.role,
        text=row.text,
        created_at=row.created_at,
        run_id=row.run_id,
        state=row.state,
        citations=() if row.citations is None else adapter(tuple[Citation, ...]).validate_json(row.citations),
        parent_id=row.parent_id,
        siblings=siblings,
    )


def options_of(text: str) -> RunOptions:
    return RunOptions() if text == _PLAIN_OPTIONS else adapter(RunOptions).validate_json(text)


def run_of(row: Any) -> Run:
    return Run(
        id=row.id,
        user_id=row.user_id,
        conversation_id=row.conversation_id,
        question_id=row.question_id,
        message_id=row.message_id,
        project_id=row.project_id,
        state=row.state,
        attempt=row.attempt,
        stop_requested=bool(row.stop_requested),
        events=row.events,
        options=options_of(row.options),
        reason=row.reason,
        usage=None if row.usage is None else Usage(**orjson.loads(row.usage)),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def event_of(row: Any) -> RunEvent:
    return RunEvent(run_id=row.run_id, seq=row.seq, kind=row.kind, data=orjson.loads(row.data), created_at=row.created_at)
