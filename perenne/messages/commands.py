"""Writes. Each carries the id under which it is done at most once, and the user on whose behalf.

A command is answered after its transaction is on disk. The same id again gives the first result (7 days);
the same id with another body raises `CommandReused`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from perenne.messages.event_batch import EventBatch
from perenne.messages.records import (
    Citation,
    Details,
    Document,
    Job,
    Message,
    ReasonCode,
    Run,
    RunOptions,
    RunState,
    Scope,
    Usage,
)

SYSTEM_USER = "system"  # the user of commands that our own actors send
OWNER = "owner"  # the first user's id: whose instance it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    command_id: str
    user_id: str


# People and keys


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateUser(Command):
    """-> User"""

    new_user_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKey(Command):
    """-> Key. `key_hash` is the hexadecimal SHA-256 of the secret."""

    key_id: str
    for_user_id: str
    key_hash: str
    label: str
    scopes: tuple[Scope, ...]
    project_id: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKey(Command):
    """-> Key"""

    key_id: str


# Projects and documents


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProject(Command):
    """-> Project; Conflict when the user has one of that name."""

    project_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameProject(Command):
    """-> Project"""

    project_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteProject(Command):
    """-> Deleted. Documents in no other project go with it."""

    project_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDocument(Command):
    """-> DocumentAdded. The blob is on disk already. The document is queued with its job in one transaction.

    The same blob twice in one project gives the first document (`existing` is true) and no new job, unless that one failed
    or was refused: then it is queued again. The same `external_id` with another blob replaces what the document held.
    """

    document_id: str
    job_id: str
    project_id: str
    title: str
    blob_hash: str
    size_bytes: int
    filename: str | None = None
    media_type: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddJsonLines(Command):
    """-> Job. The blob holds one JSON object a line: `id`, `title`, `text`. Each becomes a document with that external id."""

    job_id: str
    project_id: str
    blob_hash: str
    size_bytes: int
    filename: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDocument(Command):
    """-> Document. A document may be in many projects of its user."""

    document_id: str
    project_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkDocument(Command):
    """-> Document. From its last project a document is not unlinked (Conflict): delete it."""

    document_id: str
    project_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDocument(Command):
    """-> Deleted"""

    document_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddWatch(Command):
    """-> Watch; Conflict when this folder is watched for this project already."""

    watch_id: str
    project_id: str
    path: str
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveWatch(Command):
    """-> Deleted. The documents stay."""

    watch_id: str


# Jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseJobs(Command):
    """-> tuple[Job, …], oldest first: queued ones, expired ones, and the worker's own at once when `take_back`."""

    worker: str
    limit: int
    lease_s: float
    take_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewJob(Command):
    """-> Job, with its progress; LeaseLost when it is another's or cancelled."""

    job_id: str
    lease_token: str
    lease_s: float
    done: int
    total: int | None = None
    unit: str = "chunks"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChunk:
    """One passage to store; spans count characters of the document's whole text."""

    ordinal: int
    text: str
    start: int
    end: int
    page: int | None = None
    heading_path: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedDocument:
    """A document, or the next part of one, ready to be found.

    `vectors`: float32, little-endian, row-major, len(chunks) × dimension, unit length; empty when no embedder was there.
    `first` drops what the document held; `last` makes it `indexed`. `text` is the part's own stretch of the whole text, in
    order, so that the parts joined are the document. With `document_id` unknown to the store the document is made (JSON lines).
    """

    document_id: str
    title: str
    text: str
    chunks: tuple[NewChunk, ...]
    vectors: bytes
    external_id: str | None = None
    language: str | None = None
    pages: int | None = None
    first: bool = True
    last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDocuments(Command):
    """-> Job. Documents, chunks, vectors, checkpoint and progress in one transaction, under the job's lease.

    `external_id` already in the project: that document is replaced and keeps its id.
    """

    job_id: str
    lease_token: str
    lease_s: float
    project_id: str
    space: str
    documents: tuple[IndexedDocument, ...]
    checkpoint: str | None = None
    done: int = 0
    total: int | None = None
    unit: str = "chunks"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishJob(Command):
    """-> Job. `refused` and `failed` need a reason and set the document's state too: of a job of lines, the document that is stored
    in part."""

    job_id: str
    lease_token: str
    state: Literal["done", "refused", "failed"]
    reason: str | None = None
    code: ReasonCode = "internal"
    details: Details = field(default_factory=Details)
    result: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseJob(Command):
    """-> Job, queued again not before `delay_s` have passed, at its last checkpoint. For an outage that is not the file's fault."""

    job_id: str
    lease_token: str
    delay_s: float
    reason: str
    code: ReasonCode = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelJob(Command):
    """-> Job. Its holder loses the lease; its document becomes `failed` with the reason 'cancelled'; of a job of lines, the
    document that is stored in part."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJob(Command):
    """-> Job, queued again; Conflict unless it was failed, refused or cancelled."""

    job_id: str


# Conversations and runs


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateConversation(Command):
    """-> Conversation"""

    conversation_id: str
    project_id: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameConversation(Command):
    """-> Conversation"""

    conversation_id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteConversation(Command):
    """-> Deleted"""

    conversation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMessage(Command):
    """-> MessagePosted. Question, empty answer and queued run in one transaction: the run is durable before a word of it.

    A conversation that does not exist yet is made in the same transaction, in `project_id`. The question follows the answer
    `parent_id`, else the last message of the branch that is shown; with `edits` it stands beside that question of the user's, as
    another one after the same message. Either way its branch becomes the one that is shown, and the others stay whole. Its run
    is begun once the answer before it is closed.
    """

    conversation_id: str
    message_id: str
    reply_id: str
    run_id: str
    text: str
    project_id: str | None = None
    parent_id: str | None = None
    edits: str | None = None
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegenerateReply(Command):
    """-> MessagePosted. A new run and a new answer beside the others to the same question; the branch that it ends is shown. What
    was said after the older ones stays, in their branches. An older one that is still being written is stopped."""

    message_id: str
    reply_id: str
    run_id: str
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseBranch(Command):
    """-> Conversation. It shows the branch of this message from now on, with the newest of what follows it."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRun(Command):
    """-> Run. A queued run is stopped at once; a running one is asked to stop."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRun:
    """The end of a run, with what its message becomes."""

    state: RunState
    text: str
    citations: tuple[Citation, ...] = ()
    usage: Usage | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAttempt(Command):
    """-> Run, running, with `attempt` raised when it ran before. `host` is the only one whose appends are taken from now on."""

    run_id: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRunEvents(Command):
    """-> Run. Numbers the events on from the run's last. LeaseLost when `host` no longer holds the run; Conflict once it is closed."""

    run_id: str
    host: str
    events: EventBatch
    close: CloseRun | None = None


# What writes answer, where it is not a record


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentAdded:
    """-> the document, and its job when one was queued"""

    document: Document
    job: Job | None
    existing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePosted:
    question: Message
    reply: Message
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One command's answer within a submit: `value`, or the `error` that it alone failed with.

    `seq` is the feed's head after it: a search given `min_seq=seq` sees this write. `durability` says what the acknowledgement rests on.
    """

    command_id: str
    value: Any = None
    error: Exception | None = None
    seq: int = 0
    durability: Literal["local", "replicated"] = "local"
