"""Messages as Outlook saved them, from the source distribution of a package that is tested with them."""

import os
import tarfile
from pathlib import Path

import pytest

from actors.ingest.caps import Caps
from actors.ingest.parsed import Parsed
from actors.ingest.reading import read
from actors.ingest.source import Source

ARCHIVE = Path(__file__).resolve().parents[2] / "build" / "outlook-sdist" / "msg_parser-1.2.0.tar.gz"  # fetched by `make dev`
CAPS = Caps(
    64 << 20, 500, 2_000_000, 2 << 30, 30.0, 60.0, chunk_chars=300, entries_max=50
)  # bytes, pages, characters, memory, seconds


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that they lie in."""
    if not ARCHIVE.exists():
        assert not os.environ.get("CI"), f"{ARCHIVE} is missing: make dev"
        pytest.skip(f"{ARCHIVE} is missing: make dev")
    folder = tmp_path_factory.mktemp("outlook")
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(folder, filter="data")
    return folder / "msg_parser-1.2.0" / "tests" / "files"


def parsed(path: Path, tmp_path: Path) -> Parsed:
    return read(Source(path=path, name=path.name, caps=CAPS), tmp_path / "out")


def test_a_long_message_has_heads_text_and_the_names_of_its_attachments(messages: Path, tmp_path: Path) -> None:
    message = parsed(messages / "complete.msg", tmp_path)
    assert message.title == "Test Multiple attachments complete email!!"
    assert message.text.startswith(
        'From: "Vikram Arsid" <admin@fegraph.onmicrosoft.com>\nTo: qademo@hiddenfire.onmicrosoft.com '
    )
    assert "Date: 2018-10-29 18:12+00:00" in message.text
    assert "Nokia Health is now Withings." in message.text
    attached = [line for line in message.text.splitlines() if line.startswith("Attachment: ")]
    assert [line.rpartition(".")[2] for line in attached] == ["docx", "txt", "pdf", "jpg"]


def test_a_message_in_chinese_is_read_with_its_sender_and_its_attached_message(messages: Path, tmp_path: Path) -> None:
    message = parsed(messages / "other.msg", tmp_path)
    assert message.title == "投递状态通知 (Failure Notice)"
    assert "From: Mail Delivery Subsystem <mailer-daemon@tjdpf.org.cn>" in message.text
    assert "服务器已经放弃投递" in message.text
    assert message.text.rstrip().endswith("Attachment: default_attachment.eml")


def test_a_message_without_sender_and_date_has_what_there_is(messages: Path, tmp_path: Path) -> None:
    message = parsed(messages / "outer.msg", tmp_path)
    assert message.text.rstrip() == "To: outer@foo.bar <outer@foo.bar>\nSubject: outer subject\n\nOuter body"
