"""Files that come in over many requests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file on its way, or one that has come. `offset` of its `length` bytes are on disk; `blob_hash` once all are there and
    were found to be those of `sha256`, where that was told."""

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
