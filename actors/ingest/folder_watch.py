"""One watched folder: what changes in it becomes documents, jobs and deletions. The database is what is known, the disk what is."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from actors.ingest.blob_files import BlobFiles
from actors.ingest.folder import Listing, Stamp, compare, hash_of, list_folder
from perenne.errors import Conflict, InvalidRequest, NotFound, PerenneError, TooLarge
from perenne.ids import new_id
from perenne.messages.commands import AddDocument, DeleteDocument
from perenne.messages.records import HeldFile, Page, Watch, WatchPhase, WatchState
from perenne.store import Store

log = logging.getLogger(__name__)

SETTLE_S = 2.0  # a file that changed less long ago may still be written
RESCAN_S = 600.0  # the net under the kernel's events, which network disks do not send
AWAY_S = 10.0  # pause between two looks at a folder that is not there
_WRITE_S = 30.0
_TITLE_CHARS_MAX = 500


def _is_text(path: str) -> bool:
    """Whether a name can be said at all: on disk it may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


class FolderWatch:
    """`run` until cancelled. Begun anew it compares everything again; a file that is as held costs its hash and nothing more."""

    def __init__(self, watch: Watch, store: Store, blobs: BlobFiles, file_bytes_max: int) -> None:
        self.watch, self._store, self._blobs, self._file_bytes_max = watch, store, blobs, file_bytes_max
        self._root = Path(watch.path)
        self._seen: dict[str, Stamp] = {}
        self._nudge = asyncio.Event()
        self._settling = False
        self.state = WatchState(watch=watch)

    async def run(self) -> None:
        """Scan, wait for a change, scan again."""
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                self._nudge.clear()
                try:
                    await self.scan()
                except PerenneError as error:  # a store is away or full: the next scan finds the same difference
                    self.state = replace(self.state, reason=str(error))
                    self._settling = True
                pause = SETTLE_S if self._settling else RESCAN_S if self.state.phase == "watching" else AWAY_S
                try:
                    async with asyncio.timeout(pause):
                        await self._nudge.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(SETTLE_S)  # many changes in a row are one scan
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        """The kernel's events, as nudges; a folder that is away is waited for."""
        from watchfiles import awatch

        while True:
            try:
                async for _ in awatch(self._root, step=200, debounce=1_000, ignore_permission_denied=True, watch_filter=None):
                    self._nudge.set()
            except (OSError, RuntimeError) as error:  # not there, no inotify watches left: scans go on by the clock
                log.info("no events from a watched folder: %s", error)
            self._nudge.set()
            await asyncio.sleep(AWAY_S)

    async def scan(self) -> None:
        """Bring the documents to what the disk holds now. Raises what the stores raise; harmless to repeat."""
        try:
            listing = await asyncio.to_thread(list_folder, self._root, self.watch.ignore)
        except OSError as error:
            self._tell("missing", reason=f"the folder can't be read: {error.strerror or error}")
            return
        held = [file async for file in self._held()]
        if held and not listing.files:
            self._tell("emptied", files=len(held), reason=f"the folder is empty now; {len(held):,} documents of it are kept")
            return
        await self._apply(listing, held)

    async def _held(self) -> AsyncIterator[HeldFile]:
        after: str | None = None
        while True:
            page: Page[HeldFile] = await self._store.read(
                "watched_files", user_id=self.watch.user_id, watch_id=self.watch.id, after=after
            )
            for file in page.items:
                yield file
            after = page.next
            if after is None:
                return

    async def _apply(self, listing: Listing, held: list[HeldFile]) -> None:
        known = {file.path: file for file in held}
        difference = compare(listing, self._seen, held)
        self._settling = False
        skipped = 0
        for path in difference.changed:
            skipped += not await self._bring(path, listing.files[path], known.get(path))
        for file in difference.gone:
            await self._delete(file)
            self._seen.pop(file.path, None)
        unread = f"{len(listing.unread):,} folders in it can't be read" if listing.unread else None
        self._tell("watching", files=len(listing.files) - skipped, skipped=skipped, reason=unread)

    async def _bring(self, path: str, stamp: Stamp, held: HeldFile | None) -> bool:
        """One file that is new or looks changed -> whether it is a document now, or will be at the next scan."""
        if stamp.size_bytes > self._file_bytes_max or stamp.size_bytes == 0 or not _is_text(path):
            return False
        if time.time() - stamp.changed_ns / 1e9 < SETTLE_S:
            self._settling = True
            return True
        file = self._root / path
        try:
            if held is None or held.blob_hash != await asyncio.to_thread(hash_of, file):
                await self._add(path, file)
        except (OSError, TooLarge, InvalidRequest) as error:  # its own trouble: the other files go on
            log.info("a file of a watched folder is left out: %s", type(error).__name__)
            return False
        self._seen[path] = stamp
        return True

    async def _add(self, path: str, file: Path) -> None:
        blob_hash, size = await self._blobs.put(file)
        await self._store.write(
            AddDocument(
                command_id=new_id("cmd"),
                user_id=self.watch.user_id,
                document_id=new_id("doc"),
                job_id=new_id("job"),
                project_id=self.watch.project_id,
                title=path[-_TITLE_CHARS_MAX:],
                external_id=f"{self.watch.id}/{path}",
                filename=file.name,
                blob_hash=blob_hash,
                size_bytes=size,
            ),
            deadline_s=_WRITE_S,
        )

    async def _delete(self, file: HeldFile) -> None:
        command = DeleteDocument(command_id=new_id("cmd"), user_id=self.watch.user_id, document_id=file.document_id)
        try:
            await self._store.write(command, deadline_s=_WRITE_S)
        except (NotFound, Conflict):
            log.debug("a document of a watched folder was gone before its file was")

    def _tell(self, phase: WatchPhase, *, files: int | None = None, skipped: int = 0, reason: str | None = None) -> None:
        self.state = WatchState(
            watch=self.watch,
            phase=phase,
            files=self.state.files if files is None else files,
            skipped=skipped,
            reason=reason,
            scanned_at=time.time() if phase == "watching" else self.state.scanned_at,
        )
