"""All watched folders: a task for each row, begun and ended as rows come and go."""

import asyncio
import logging
import os
from pathlib import Path

from actors.ingest.blob_files import BlobFiles
from actors.ingest.folder_watch import FolderWatch
from perenne.errors import InvalidRequest, PerenneError
from perenne.messages.records import Watch, WatchState
from perenne.store import Store

log = logging.getLogger(__name__)

POLL_S = 10.0  # the net under `look`


def check_folder(path: str, home: Path) -> str:
    """The folder as it will be watched. InvalidRequest when it is none, can't be read, or holds our own state."""
    if not os.path.isabs(path):
        raise InvalidRequest(f"expected a whole path from the root, got {path!r}", "path")
    real, own = Path(os.path.realpath(path)), Path(os.path.realpath(home))
    if real == own or own.is_relative_to(real) or real.is_relative_to(own):
        raise InvalidRequest("the folder holds the state of this instance, or lies in it: name one beside it", "path")
    if not real.is_dir():
        raise InvalidRequest(f"there is no folder {str(real)!r} on the PC that reads files", "path")
    if not os.access(real, os.R_OK | os.X_OK):
        raise InvalidRequest(f"the folder {str(real)!r} can't be read by the user that this instance runs as", "path")
    return str(real)


class Watching:
    """`run` until cancelled; a folder's trouble is its own."""

    def __init__(self, store: Store, blobs: BlobFiles, file_bytes_max: int) -> None:
        self._store, self._blobs, self._file_bytes_max = store, blobs, file_bytes_max
        self._held: dict[str, tuple[FolderWatch, asyncio.Task[None]]] = {}
        self._look = asyncio.Event()

    def look(self) -> None:
        """A row came or went; from the loop that runs this."""
        self._look.set()

    def states(self) -> dict[str, WatchState]:
        """By the id of the watch."""
        return {watch_id: folder.state for watch_id, (folder, _) in list(self._held.items())}

    async def run(self) -> None:
        """Keep the tasks to the rows."""
        try:
            while True:
                self._look.clear()
                try:
                    await self._keep(await self._store.read("watches", user_id=None))
                except PerenneError as error:
                    log.info("the watched folders could not be read: %s", error)
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._look.wait()
                except TimeoutError:
                    continue
        finally:
            await self._keep(())

    async def _keep(self, rows: tuple[Watch, ...]) -> None:
        wanted = {row.id: row for row in rows}
        ending = [watch_id for watch_id, (_, task) in self._held.items() if watch_id not in wanted or task.done()]
        for watch_id in ending:
            _, task = self._held.pop(watch_id)
            task.cancel()
            ends = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ends[0], Exception):
                log.error("watching a folder fell over and begins again", exc_info=ends[0])
        for watch_id, row in wanted.items():
            if watch_id not in self._held:
                folder = FolderWatch(row, self._store, self._blobs, self._file_bytes_max)
                self._held[watch_id] = (folder, asyncio.create_task(folder.run()))
