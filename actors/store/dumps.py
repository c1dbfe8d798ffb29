"""A copy of a PostgreSQL database before it is migrated, by the server's own `pg_dump` where this machine has it."""

import logging
import os
import shutil
import subprocess
import time
from pathlib import Path

from sqlalchemy import URL

log = logging.getLogger(__name__)

DUMP_S = 1_800.0  # the longest that a copy may take: nothing is written meanwhile
KEPT = 2


def dump_before(url: URL, folder: Path, revision: str) -> Path | None:
    """The copy, for `pg_restore`; None where none could be made, which the log says: the migration itself is whole or nothing."""
    program = shutil.which("pg_dump")
    if program is None:
        log.warning("no copy is made before the migration to %s: pg_dump is not on this machine", revision)
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = folder / "postgresql-before.part"
    copy = folder / f"postgresql-before-{revision}-{time.strftime('%Y%m%dT%H%M%S')}.dump"
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}
    try:
        subprocess.run(
            [program, "--format=custom", "--no-password", f"--file={unfinished}", f"--dbname={address}"],
            env={**os.environ, **secret},
            umask=0o077,
            capture_output=True,
            text=True,
            timeout=DUMP_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        unfinished.unlink(missing_ok=True)
        said = getattr(error, "stderr", None) or error
        log.warning("no copy is made before the migration to %s: pg_dump failed: %s", revision, said)
        return None
    unfinished.replace(copy)
    for old in sorted(folder.glob("postgresql-before-*.dump"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink()
    return copy
