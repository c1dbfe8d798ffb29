"""What clients see of records that carry more than they may know."""

from dataclasses import dataclass, field
from typing import Any

from perenne.messages.commands import DocumentAdded
from perenne.messages.records import Details, Document, Job, JobKind, JobState, Key, Page, ReasonCode

HIDDEN = ("step",)  # events of a run for whoever continues it: results of stages


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """Durable work: `done` of `total` counts what `unit` says; `reason` why it was refused, failed or put back, and `code` with
    `details` the same for programs."""

    id: str
    user_id: str
    kind: JobKind
    state: JobState
    project_id: str | None = None
    document_id: str | None = None
    filename: str | None = None
    media_type: str | None = None
    attempts: int = 0
    done: int = 0
    total: int | None = None
    unit: str = "chunks"
    reason: str | None = None
    code: ReasonCode | None = None
    details: Details = field(default_factory=Details)
    result: dict[str, Any] = field(default_factory=dict[str, Any])
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentAddedView:
    """The document, and its job when one was queued."""

    document: Document
    job: JobView | None
    existing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadView:
    """A file on its way: `offset` of `length` bytes are on disk. Once it is whole, and only where it is asked for by its id: `added`,
    or for JSON lines (`kind`) the `job`."""

    id: str
    project_id: str
    length: int
    offset: int
    filename: str
    title: str
    external_id: str | None = None
    sha256: str | None = None
    created_at: float
    expires_at: float
    kind: JobKind = "document"
    added: DocumentAddedView | None = None
    job: JobView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMade:
    """A new key and its secret, shown this once."""

    key: Key
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """The caller."""

    user_id: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """For `/ws?ticket=…`: good once, for a short time."""

    ticket: str
    expires_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """`code` is stable; `message` is for people."""

    code: str
    message: str
    field: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEnvelope:
    error: ErrorBody


def job_view(job: Job) -> JobView:
    """A job without its lease, its password and its checkpoint."""
    return JobView(**{name: getattr(job, name) for name in JobView.__slots__})


def jobs_view(page: Page[Job]) -> Page[JobView]:
    return Page(items=tuple(job_view(job) for job in page.items), next=page.next)


def added_view(added: DocumentAdded) -> DocumentAddedView:
    return DocumentAddedView(
        document=added.document, job=None if added.job is None else job_view(added.job), existing=added.existing
    )
