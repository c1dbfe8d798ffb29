"""Removes, now and then, what no row names any more."""

import asyncio
import logging
import threading
import time

from actors.blobs.files import BlobFiles
from actors.blobs.resumable import ResumableUploads
from actors.blobs.uploads import Uploads
from perenne import names
from perenne.directory import Directory
from perenne.errors import PerenneError

log = logging.getLogger(__name__)

EVERY_S = 3_600.0
UPLOAD_AGE_S = 86_400.0  # an upload that nobody touched for this long is dropped
BLOB_GRACE_S = 86_400.0  # a file that no row names is spared for this long: its row may be on its way
ASK_S = 30.0  # the longest that the store may take to name what it holds


class Sweeper:
    """A thread that asks the store which files its rows name, and drops the others once they are old. When the store does not
    answer, or names nothing at all (it may be a new one in the place of ours), nothing is dropped."""

    def __init__(self, files: BlobFiles, uploads: Uploads, resumable: ResumableUploads, directory: Directory) -> None:
        self._files, self._uploads, self._resumable, self._directory = files, uploads, resumable, directory
        self._ended = threading.Event()
        self._held_until = 0.0  # on the monotonic clock

    def start(self, every_s: float = EVERY_S) -> None:
        """Drop stale uploads now; all else each `every_s`."""
        self._sweep_uploads()
        threading.Thread(target=self._run, args=(every_s,), name="sweeper", daemon=True).start()

    def hold(self, for_s: float) -> None:
        """Drop no file for so long from now: a backup is being made, and a row of its cut may be deleted meanwhile. 0 ends it. Forgotten
        by a restart, after which the first sweep of files is `EVERY_S` away."""
        self._held_until = time.monotonic() + for_s

    def stop(self) -> None:
        """Harmless twice."""
        self._ended.set()

    def _run(self, every_s: float) -> None:
        while not self._ended.wait(every_s):
            try:
                uploads, (removed, freed) = self._sweep_uploads(), self.sweep()
            except PerenneError as error:
                log.info("nothing is swept: %s", error)
            except Exception:
                log.exception("the sweep failed")
            else:
                log.info("swept: %d uploads, %d files of %d bytes", uploads, removed, freed)

    def _sweep_uploads(self) -> int:
        return self._uploads.sweep(UPLOAD_AGE_S) + self._resumable.sweep()

    def sweep(self) -> tuple[int, int]:
        """Files removed, and their bytes. None while they are held."""
        if time.monotonic() < self._held_until:
            return 0, 0
        kept: frozenset[str] = asyncio.run(self._directory.call(names.store_reader(0), "blob_hashes", timeout_s=ASK_S))
        return self._files.sweep(kept, BLOB_GRACE_S) if kept else (0, 0)
