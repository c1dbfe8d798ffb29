"""A PostgreSQL of the tests' own: started by the first test that asks, a database for each home, gone with the session."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

OWNER, PASSWORD = "perenne", "a secret of the tests"
START_WITHIN_S = 30.0
STOP_WITHIN_S = 20.0


def binaries() -> Path | None:
    """Where the server's programs are: Debian keeps each major version apart and none on the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return kept[-1].parent if kept else None


class Cluster:
    """One server on a port of its own, asking for a password on it. It refuses to run as root, so it runs as Debian's `postgres`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            held = pwd.getpwnam(self._user)
            os.chown(self.folder, held.pw_uid, held.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._made: dict[Path, str] = {}
        self._numbers = iter(range(1, 1_000_000))
        self._server: subprocess.Popen[bytes] | None = None
        secret = self.folder / "secret"
        secret.write_text("root\n")
        secret.chmod(0o644)
        self._run("initdb", "-D", str(self.data), "-U", "root", "--auth-local=trust", "--auth-host=scram-sha-256",
                  f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8")  # fmt: skip
        self.start()
        self.sql(f"CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], user=self._user, group=self._user, cwd="/", capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder)}
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *given],
                user=self._user, group=self._user, cwd="/", stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            with contextlib.suppress(OSError, Exception):
                self.sql("SELECT 1")
                return
            assert self._server.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)

    def stop(self, hard: bool = False) -> None:
        """In order, or as a power cut would; its data stay."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT if hard else signal.SIGINT)
            self._server.wait(STOP_WITHIN_S)
            self._server = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """As the server's own administrator."""
        import psycopg

        with psycopg.connect(host=str(self.folder), port=self.port, user="root", dbname=database, autocommit=True) as session:
            done = session.execute(statement)
            return done.fetchall() if done.description else []

    def address(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://{OWNER}:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def database(self, template: str | None = None, more: str = "") -> str:
        """The name of a new database that is the owner's."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template or 'template0'} {more}")
        return name

    def of_home(self, home: Path) -> str:
        """The address of a home's database, brought to the newest version already; the same each time."""
        if home not in self._made:
            self._made[home] = self.address(self.database(self._template()))
        return self._made[home]

    def _template(self) -> str:
        if not hasattr(self, "_newest"):
            from actors.store.database import writing_engine
            from actors.store.migrate import migrate

            self._newest = self.database()
            migrate(writing_engine(self.address(self._newest)), None)
        return self._newest


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A skip on a laptop without PostgreSQL, an error in CI."""
    programs = binaries()
    if programs is None:
        said = "PostgreSQL is not here: sudo apt install postgresql"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    made = Cluster(programs)
    try:
        yield made
    finally:
        made.close()
