"""Files that come in over many requests."""

from dataclasses import dataclass

from perenne.messages.commands import AddDocument, AddJsonLines
from perenne.messages.records import JobKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file on its way, or one that has come. `offset` of its `length` bytes are on disk; `blob_hash` once all are there and
    were found to be those of `sha256`, where that was told. `kind`: it becomes a document, or each of its lines does."""

    id: str
    user_id: str
    project_id: str
    length: int
    filename: str
    title: str
    created_at: float
    expires_at: float = 0.0
    offset: int = 0
    media_type: str | None = None
    external_id: str | None = None
    sha256: str | None = None
    blob_hash: str | None = None
    kind: JobKind = "document"

    @property
    def job_id(self) -> str:
        """Of the job that it becomes."""
        return f"job_{self.id.partition('_')[2]}"


def command_of(upload: Upload) -> AddDocument | AddJsonLines:
    """What an upload that has come whole becomes. The ids are the upload's: whoever sends it, and how often, it is done once."""
    command_id, blob_hash = f"{upload.user_id}:{upload.id}", upload.blob_hash or ""
    if upload.kind == "jsonl":
        return AddJsonLines(
            command_id=command_id,
            user_id=upload.user_id,
            job_id=upload.job_id,
            project_id=upload.project_id,
            blob_hash=blob_hash,
            size_bytes=upload.length,
            filename=upload.filename,
        )
    return AddDocument(
        command_id=command_id,
        user_id=upload.user_id,
        document_id=f"doc_{upload.id.partition('_')[2]}",
        job_id=upload.job_id,
        project_id=upload.project_id,
        title=upload.title,
        blob_hash=blob_hash,
        size_bytes=upload.length,
        filename=upload.filename,
        media_type=upload.media_type,
        external_id=upload.external_id,
    )
