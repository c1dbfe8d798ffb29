"""The `openai` package's own tests of the resources that are served here, from its source distribution, against the edge.

They were made for a mock server that takes any value and gives an example of each answer. What they send that has no meaning
here is in `openai_own/expected_failures.yaml`, each with its reason; a test in there that passes is a failure too."""

import contextlib
import fnmatch
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openai
import pytest

from perenne.errors import NotFound
from perenne.ids import new_id
from perenne.messages.commands import (
    AddDocument,
    Command,
    CreateKey,
    CreateProject,
    DeleteConversation,
    DeleteDocument,
    DeleteProject,
    LinkDocument,
    PostMessage,
)
from perenne.store import Store
from tests.contract.house_thread import HouseThread, house_thread
from tests.contract.openai_own.plugin import expected

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "build" / "openai-sdist"  # filled by `make dev`
KEY = "My API Key"  # theirs
TEXT = b"what every file here holds"
CHATS = ("chat/test_completions.py", "test_responses.py", "responses/test_input_items.py", "test_models.py")
FILES = ("test_files.py", "test_vector_stores.py", "vector_stores/test_files.py", "vector_stores/test_file_batches.py")
STORES, DOCUMENTS = ("vector_store_id", "vs_abc123"), ("file_id", "file-abc123", "string")
RUN = "run_677efb5139a88190b512bc3fef8e535d"


@pytest.fixture(scope="module")
def own_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the source distribution of the version that is installed lies unpacked."""
    archive = SOURCE / f"openai-{openai.__version__}.tar.gz"
    if not archive.exists():
        assert not os.environ.get("CI"), f"{archive} is missing: make dev"
        pytest.skip(f"{archive} is missing: make dev")
    folder = tmp_path_factory.mktemp("openai")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / f"openai-{openai.__version__}"


async def furnish(store: Store, blob_hash: str) -> None:
    """What the tests name by ids of their own, as if it had always been there."""
    by = {"user_id": "owner"}

    async def gone(command: Command) -> None:
        with contextlib.suppress(NotFound):
            await store.write(command)

    for document_id in DOCUMENTS:
        await gone(DeleteDocument(command_id=new_id("cmd"), **by, document_id=document_id))
    named = await store.read("projects", user_id="owner", limit=500, after=None)
    for project in named.items:
        if project.id in STORES or project.name == "name":
            await gone(DeleteProject(command_id=new_id("cmd"), **by, project_id=project.id))
    for project_id in STORES:
        await store.write(CreateProject(command_id=new_id("cmd"), **by, project_id=project_id, name=project_id))
    for document_id in DOCUMENTS:
        await store.write(
            AddDocument(
                command_id=new_id("cmd"),
                **by,
                document_id=document_id,
                job_id=new_id("job"),
                project_id=STORES[0],
                title=document_id,
                external_id=document_id,
                blob_hash=blob_hash,
                size_bytes=len(TEXT),
            )
        )
        link = {"document_id": document_id, "project_id": STORES[1]}
        await store.write(LinkDocument(command_id=new_id("cmd"), **by, **link))
    await gone(DeleteConversation(command_id=new_id("cmd"), **by, conversation_id="cnv_own"))
    await store.write(
        PostMessage(
            command_id=new_id("cmd"),
            **by,
            conversation_id="cnv_own",
            message_id=new_id("msg"),
            reply_id=new_id("rpl"),
            run_id=RUN,
            text="When?",
        )
    )


@contextmanager
def bell(ring: Callable[[], None]) -> Iterator[str]:
    """An address that has something done whenever it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ring()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def make_key(house: HouseThread) -> None:
    command = CreateKey(
        command_id=new_id("cmd"),
        user_id="system",
        key_id="key_own",
        for_user_id="owner",
        key_hash=hashlib.sha256(KEY.encode()).hexdigest(),
        label="own",
        scopes=("read", "write"),
    )
    house.run(house.house.store.write(command))


async def send(house: HouseThread) -> str:
    """The hash of a file that is on disk."""
    async with house.house.http() as http:
        sent = await http.post("/api/projects/default/documents", files={"file": ("a.txt", TEXT, "text/plain")})
        return sent.raise_for_status().json()["document"]["blob_hash"]


@pytest.mark.parametrize(
    ("language", "files"),
    [("gpt-6-astra", (*CHATS, *FILES, "test_embeddings.py")), ("gpt-3.5-turbo-instruct", ("test_completions.py",))],
)
def test_the_packages_own_tests_pass_but_for_those_with_a_reason(
    own_tests: Path, tmp_path: Path, language: str, files: tuple[str, ...]
) -> None:
    with house_thread(tmp_path, language, "text-embedding-3-small", requests_per_minute=1_000_000) as house:
        make_key(house)
        blob_hash = house.run(send(house))
        with bell(lambda: house.run(furnish(house.house.store, blob_hash))) as address:
            environment = {
                **os.environ,
                "TEST_API_BASE_URL": f"{house.address}/v1",
                "PERENNE_FURNISH": address,
                "PYTHONPATH": f"{own_tests}{os.pathsep}{Path(__file__).parent}",
                "NO_PROXY": "127.0.0.1",
            }
            wanted = [f"tests/api_resources/{file}" for file in files]
            # one after the other, since they share what they name; the asynchronous client sends the same requests again
            how = ("-q", "-n", "0", "--tb=line", "-k", "not Async", "-p", "openai_own.plugin")
            command = [sys.executable, "-m", "pytest", *how, *wanted]
            done = subprocess.run(
                command, check=False, cwd=own_tests, env=environment, capture_output=True, text=True, timeout=280
            )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_each_expected_failure_is_a_test_that_there_is(own_tests: Path) -> None:
    resources = own_tests / "tests" / "api_resources"
    for pattern, reason in expected():
        file, _, name = pattern.removeprefix("api_resources/").partition("::")
        names = re.findall(r"def (test_\w+)", (resources / file).read_text(encoding="utf-8"))
        assert reason
        assert fnmatch.filter(names, name.partition("[")[0] + "*"), pattern
