"""`perenne chat` as a program: questions by the line in one conversation, against a running instance."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perenne import names
from tests.live.running import RunningInstance, mark_of_run

PERENNE = Path(sys.executable).with_name("perenne")
GUIDE = "The lighthouse of Cabo Verano was built in 1847 by the engineer Marta Quiroga."
WITHIN_S = 240.0  # on a busy PC; a model that is cold is loaded first


@pytest.fixture(scope="module")
def project(instance: RunningInstance, tmp_path_factory: pytest.TempPathFactory) -> str:
    name = f"chat-{mark_of_run()}"
    guide = tmp_path_factory.mktemp("chat") / "guide.txt"
    guide.write_text(GUIDE)
    added = [PERENNE, "add", guide, "--project", name, "--wait"]
    subprocess.run(added, env=instance.environment, capture_output=True, timeout=WITHIN_S, check=True)
    return name


@pytest.fixture
def chat(instance: RunningInstance, project: str) -> Iterator[subprocess.Popen[str]]:
    command = [PERENNE, "chat", "--project", project]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, env=instance.environment, text=True, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def conversations(instance: RunningInstance, project: str) -> list[dict[str, Any]]:
    with instance.client() as http:
        return http.get("/api/conversations", params={"project": project}).json()["items"]


def messages(instance: RunningInstance, conversation_id: str) -> list[dict[str, Any]]:
    with instance.client() as http:
        return http.get(f"/api/conversations/{conversation_id}/messages").json()["items"]


def test_lines_are_questions_of_one_conversation_and_one_that_fails_ends_nothing(
    instance: RunningInstance, project: str, chat: subprocess.Popen[str]
) -> None:
    questions = ["Who built the lighthouse of Cabo Verano?", "When was the lighthouse of Cabo Verano built?"]
    too_long = "x" * (names.MESSAGE_CHARS_MAX + 1)
    said, noted = chat.communicate("\n".join([questions[0], too_long, questions[1], "", "never asked"]) + "\n", WITHIN_S)
    assert chat.returncode == 0, (said, noted)

    (conversation,) = conversations(instance, project)
    held = messages(instance, conversation["id"])
    assert [message["role"] for message in held] == ["user", "assistant"] * 2
    assert [message["text"] for message in held[::2]] == questions
    for answer in held[1::2]:
        assert answer["state"] == "done"
        assert answer["text"]
        assert answer["text"] in said
    assert str(names.MESSAGE_CHARS_MAX) in noted.replace(",", ""), "the question that failed says why"


def test_a_question_is_edited_and_an_answer_made_again_in_branches_that_the_instance_keeps(
    instance: RunningInstance, project: str, chat: subprocess.Popen[str]
) -> None:
    old, new = "Who built the lighthouse of Cabo Verano?", "In which year was the lighthouse of Cabo Verano built?"
    said, noted = chat.communicate("\n".join([old, f"/edit 1 {new}", "/again", "/list", ""]) + "\n", WITHIN_S)
    assert chat.returncode == 0, (said, noted)
    held = messages(instance, conversations(instance, project)[0]["id"])
    assert [message["text"] for message in held if message["role"] == "user"] == [new]
    assert [len(message["siblings"]) for message in held] == [2, 2]
    assert held[1]["state"] == "done"
    assert held[1]["text"] in said
    assert f"1  {new}  (version 2 of 2)" in said


def test_the_end_of_input_ends_it_well(chat: subprocess.Popen[str]) -> None:
    said, _ = chat.communicate("", WITHIN_S)
    assert (chat.returncode, said) == (0, "› ")


def test_ctrl_c_at_the_prompt_ends_it_at_once(instance: RunningInstance, chat: subprocess.Popen[str]) -> None:
    # The first Ctrl-C only marked the event loop's task as cancelled: the prompt went on waiting for a line.
    assert chat.stdout is not None
    assert chat.stdout.read(2) == "› "
    asleep = [False] * 5

    def waits_for_a_line() -> bool:  # no person's key falls between the prompt and the read behind it
        asleep[:] = [*asleep[1:], Path(f"/proc/{chat.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"]
        return all(asleep)

    assert instance.until(waits_for_a_line, 20.0)
    chat.send_signal(signal.SIGINT)
    assert chat.wait(20.0) == 130
    assert chat.stderr is not None
    assert "Traceback" not in chat.stderr.read()
