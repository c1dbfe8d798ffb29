"""Rows as their readers see them. Times are seconds since 1970-01-01 UTC; spans count characters (Unicode code points)."""

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

Scope = Literal["read", "write", "admin"]
DocumentState = Literal["queued", "indexing", "indexed", "refused", "failed"]
JobState = Literal["queued", "running", "done", "refused", "failed", "cancelled"]
JobKind = Literal["document", "jsonl"]
RunState = Literal["queued", "running", "done", "failed", "stopped"]
Role = Literal["system", "user", "assistant"]
Details = dict[str, str | int | float]

# Why a file or its job is where it is; stable, for programs and for whoever says it in another language. In brackets what
# `details` holds; docs/reasons.md says what each means.
ReasonCode = Literal[
    "password_needed",
    "password_wrong",
    "encrypted",
    "unsupported",  # what, at times
    "damaged",
    "nested_too_deeply",
    "archive_bomb",
    "empty",
    "only_pictures",
    "no_documents",  # lines
    "too_large",  # limit_bytes
    "too_much_text",  # limit_chars
    "too_many_pages",  # count, limit
    "too_slow",  # limit_s
    "too_much_memory",  # limit_bytes
    "file_missing",
    "replaced",
    "deleted",
    "cancelled",
    "waiting",
    "internal",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: str
    name: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An access key without its secret. `project_id` limits it to one project."""

    id: str
    user_id: str
    label: str
    scopes: tuple[Scope, ...]
    project_id: str | None = None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    id: str
    user_id: str
    name: str
    created_at: float
    documents: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFigures:
    """How many documents of a project are in which state, their files' bytes, and the last change to one of them."""

    states: dict[DocumentState, int] = field(default_factory=dict[DocumentState, int])
    size_bytes: int = 0
    updated_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """`refused`: the file itself can't be read (password, over a cap, damaged); `failed`: we could not; both say why: `reason` in a
    sentence, `code` and `details` for programs."""

    id: str
    user_id: str
    title: str
    external_id: str | None = None
    filename: str | None = None
    media_type: str | None = None
    blob_hash: str | None = None
    size_bytes: int = 0
    language: str | None = None
    pages: int | None = None
    chunks: int = 0
    characters: int = 0
    state: DocumentState
    reason: str | None = None
    code: ReasonCode | None = None
    details: Details = field(default_factory=Details)
    project_ids: tuple[str, ...] = ()
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A passage: `text` is the document's text from `start` to `end`; pages count from 1."""

    id: int
    document_id: str
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None = None
    heading_path: tuple[str, ...] = ()
    language: str | None = None
    title: str = ""
    external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentText:
    """A slice of a document's extracted text; `total` is the length of the whole."""

    document_id: str
    title: str
    start: int
    end: int
    total: int
    text: str
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Durable work. `done` of `total` counts bytes, chunks or lines as `unit` says; `attempts` how often it was begun, its retries
    included; `reason`, `code` and `details` why it ended so or waits. `lease_token` is only for its holder, as is `open_document_id`:
    the document of a long line of which not all parts are stored yet."""

    id: str
    user_id: str
    kind: JobKind
    state: JobState
    project_id: str | None = None
    document_id: str | None = None
    blob_hash: str | None = None
    filename: str | None = None
    media_type: str | None = None
    attempts: int = 0
    done: int = 0
    total: int | None = None
    unit: str = "chunks"
    reason: str | None = None
    code: ReasonCode | None = None
    details: Details = field(default_factory=Details)
    checkpoint: str | None = None
    open_document_id: str | None = None
    lease_token: str | None = None
    lease_until: float | None = None
    result: dict[str, Any] = field(default_factory=dict[str, Any])
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A folder of the PC that the ingest host is on; its files are documents with the external id `ID/path`. `ignore`: patterns of
    names or paths within that are left alone."""

    id: str
    user_id: str
    project_id: str
    path: str
    ignore: tuple[str, ...] = ()
    created_at: float


# starting: not looked at yet; watching: as on disk at `scanned_at`; missing: it is not there, or can't be read;
# emptied: there is nothing in it now where there was, which may be a disk that is away. Nothing is deleted in the last two.
WatchPhase = Literal["starting", "watching", "missing", "emptied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """How it stands with a folder. `files` are those that are documents; `skipped` are too large, or could not be read."""

    watch: Watch
    phase: WatchPhase = "starting"
    files: int = 0
    skipped: int = 0
    reason: str | None = None
    scanned_at: float | None = None


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file of a watched folder as the database knows it; `path` within the folder."""

    document_id: str
    path: str
    blob_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages in branches; `leaf_id` is the last message of the one that is shown."""

    id: str
    user_id: str
    project_id: str | None = None
    title: str = ""
    leaf_id: str | None = None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """`[number]` in the answer; the claim at `answer_start`..`answer_end` rests on the document's text from `start` to `end`."""

    number: int
    document_id: str
    chunk_id: int
    title: str
    start: int
    end: int
    quote: str
    page: int | None = None
    external_id: str | None = None
    answer_start: int = 0
    answer_end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens. `cached_tokens` of the prompt were not read again."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`parent_id` is the message that it follows. `siblings`, where a branch is listed: the ids of all messages that follow the same
    one, oldest first, this one among them."""

    id: str
    conversation_id: str
    role: Role
    text: str
    created_at: float
    run_id: str | None = None
    state: RunState = "done"
    citations: tuple[Citation, ...] = ()
    parent_id: str | None = None
    siblings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One answering. `message_id` is the answer's message, `question_id` the asked one's; `events` is the last sequence number."""

    id: str
    user_id: str
    conversation_id: str
    question_id: str
    message_id: str
    project_id: str | None = None
    state: RunState
    attempt: int = 1
    stop_requested: bool = False
    events: int = 0
    options: "RunOptions"
    reason: str | None = None
    usage: Usage | None = None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to answer. `grounded`: from documents only, with citations; otherwise as the bare model.
    `history` replaces the conversation's own messages: ((role, text), …), for `/v1` callers who send theirs."""

    grounded: bool = True
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    k: int | None = None
    history: tuple[tuple[Role, str], ...] | None = None


Entity = Literal["project", "document", "job", "conversation", "message", "run", "watch", "alert", "feed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One of the user's things was made, changed or deleted (op `insert`, `update`, `delete`); what it is now has to be asked for.
    `seq` is its place in the feed, with gaps where others' changes are; `conversation_id` that of a message or a run which is
    still there. The entity `feed` has op `start`: what is asked for from here on, later changes follow; or `reset`: what was
    before is not known, as after a restore, and everything has to be asked for anew."""

    seq: int
    entity: Entity
    id: str
    op: str
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes after a sequence; all up to `upto` were looked at, below `head` there is more. `origin` names whose sequence it is."""

    items: tuple[Change, ...]
    upto: int
    head: int
    origin: str


EventKind = Literal["status", "step", "sources", "delta", "restarted", "citations", "done", "error", "heartbeat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One durable event of a run; `seq` counts from 1 without gaps. A `heartbeat` is never stored and repeats the last `seq`.

    data by kind: status {stage}; step {name, …} (logged results of a stage, not shown); sources {hits: [Hit…]};
    delta {text}; restarted {attempt, reason, cause} (drop the text so far; cause "outage",
    or "withdrawn": a draft that no passage holds); citations {citations: [Citation…], text};
    done {state, finish_reason, message_id, text, usage, citations, grounded}; error {code, message}.
    """

    run_id: str
    seq: int
    kind: EventKind
    data: dict[str, Any]
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some of a list; `next` asks for what follows and is None at the end."""

    items: tuple[T, ...]
    next: str | None = None
