"""The files of an archive, each added as a document of its own: again by a retry it is the same one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.ingest.blob_files import BlobFiles
from actors.ingest.holding import Holding
from actors.ingest.parsed import Member
from actors.ingest.parser_pool import ParsedFile
from perenne.messages.records import Document

_TITLE_CHARS_MAX = 500
ERRORS_KEPT = 20


@dataclass(frozen=True, slots=True)
class MemberAdder:
    """Adds the members of one archive to its project, under its own external id and their paths."""

    holding: Holding
    blobs: BlobFiles
    archive: Document
    folder: Path

    def _external_id(self, member: Member) -> str:
        return f"{self.archive.external_id or self.archive.id}/{member.path}"

    def _title(self, member: Member) -> str:
        return f"{self.archive.title[:100]}/{member.path}"[:_TITLE_CHARS_MAX]

    async def _one(self, member: Member) -> None:
        blob_hash, size = await self.blobs.put(self.folder / member.file)
        await self.holding.add(
            member.path,
            title=self._title(member),
            external_id=self._external_id(member),
            filename=member.path.rpartition("/")[2],
            blob_hash=blob_hash,
            size_bytes=size,
        )

    async def all(self, parsed: ParsedFile) -> dict[str, Any]:
        """-> what the archive's owner is told. Raises what the stores of files and of rows raise; then it is begun again."""
        for number, member in enumerate(parsed.members):
            self.holding.progress(number, len(parsed.members), "files")
            await self._one(member)
        errors = [{"path": each.path, "code": each.code, "error": each.reason} for each in parsed.skipped[:ERRORS_KEPT]]
        return {"added": len(parsed.members), "skipped": len(parsed.skipped), "errors": errors}
