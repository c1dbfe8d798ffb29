"""`perenne chat` as a program against an edge: what is typed, and the tree of questions and answers that it makes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.edge_house import secret
from tests.contract.house_thread import HouseThread, house_thread

PERENNE = Path(sys.executable).with_name("perenne")
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseThread]:
    with house_thread(tmp_path_factory.mktemp("house")) as house:
        yield house


@dataclass
class Talked:
    said: str
    noted: str
    id: str
    http: httpx.Client

    def messages(self, leaf: str | None = None) -> list[dict[str, Any]]:
        asked = {} if leaf is None else {"leaf": leaf}
        return self.http.get(f"/api/conversations/{self.id}/messages", params=asked).raise_for_status().json()["items"]

    @property
    def questions(self) -> list[str]:
        return [message["text"] for message in self.messages() if message["role"] == "user"]


@pytest.fixture
def talk(house: HouseThread) -> Iterator[Any]:
    environment = {**os.environ, "PERENNE_ADDRESS": house.address, "PERENNE_KEY": secret("owner"), "NO_PROXY": "*"}
    headers = {"Authorization": f"Bearer {secret('owner')}"}
    with httpx.Client(base_url=house.address, headers=headers, trust_env=False) as http:

        def talked(*lines: str) -> Talked:
            done = subprocess.run(
                [PERENNE, "chat"],
                env=environment, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=WITHIN_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            newest = http.get("/api/conversations").json()["items"][0]["id"]
            return Talked(done.stdout, done.stderr, newest, http)

        yield talked


def test_the_commands_are_listed_at_the_start_and_told_by_help(talk: Any) -> None:
    told = talk("When?", "/help")
    first = told.noted.splitlines()[0]
    assert all(command in first for command in ("/list", "/edit N", "/again", "/branch", "/help"))
    assert "ask question N in other words" in told.noted


def test_a_question_that_is_edited_is_a_branch_and_what_is_asked_next_follows_it(talk: Any) -> None:
    told = talk("First?", "Second?", "Third?", "/edit 2 Second, in other words?", "Fourth?", "/list")
    assert told.questions == ["First?", "Second, in other words?", "Fourth?"]
    edited = told.messages()[2]
    assert len(edited["siblings"]) == 2
    old = told.messages(leaf=next(id for id in edited["siblings"] if id != edited["id"]))
    assert [message["text"] for message in old if message["role"] == "user"] == ["First?", "Second?"]
    assert "question  (version 2 of 2)" in told.noted
    listed = [line.removeprefix("› ") for line in told.said.splitlines()][-4:]
    assert listed[:3] == ["1  First?", "2  Second, in other words?  (version 2 of 2)", "3  Fourth?"]


def test_an_answer_that_is_made_again_stands_beside_the_old_one(talk: Any) -> None:
    told = talk("First?", "Second?", "/again", "/again", "Third?")
    assert told.questions == ["First?", "Second?", "Third?"]
    branch = told.messages()
    assert [len(message["siblings"]) for message in branch] == [1, 1, 1, 3, 1, 1]
    assert branch[3]["siblings"][-1] == branch[3]["id"]
    assert branch[4]["parent_id"] == branch[3]["id"]
    assert "answer  (version 2 of 3)" not in told.noted
    assert told.noted.index("answer  (version 2 of 2)") < told.noted.index("answer  (version 3 of 3)")
    assert told.said.count("It was built in 1863.") == 5


def test_an_edit_without_words_asks_for_them_and_an_empty_line_leaves_it_as_it_is(talk: Any) -> None:
    told = talk("First?", "/edit 1", "Other words?", "/edit 1", "", "Next?")
    assert told.questions == ["Other words?", "Next?"]


def test_versions_are_listed_and_the_talk_goes_on_from_an_older_one(talk: Any) -> None:
    told = talk(
        "First?", "Second?", "Third?", "/branch", "/edit 2 Other words?", "/again", "/branch", "/branch 2", "/branch 2 1", "Fourth?"
    )  # fmt: skip
    assert told.questions == ["First?", "Second?", "Third?", "Fourth?"]
    assert told.messages()[2]["siblings"][0] == told.messages()[2]["id"]
    said = [line.removeprefix("› ") for line in told.said.splitlines()]
    at = said.index("2   Other words?  (version 2 of 2)")
    assert said[at : at + 7] == [
        "2   Other words?  (version 2 of 2)",
        "2a  It was built in 1863.  (version 2 of 2)",
        "1  Second?",
        "2  Other words?  (shown)",
        "2  Second?",  # gone to: what stands in it from there
        "It was built in 1863.",
        "3  Third?",
    ]
    assert "there is one version of everything" in told.noted


def test_an_older_answer_is_gone_on_from(talk: Any) -> None:
    told = talk("First?", "/again", "Second?", "/branch 1a", "/branch 1a 1", "Third?", "/branch 1a 2", "/list")
    assert told.questions == ["First?", "Second?"]
    older = told.messages()[1]["siblings"][0]
    assert [message["text"] for message in told.messages(leaf=older)] == ["First?", "It was built in 1863."]
    listed = [line.removeprefix("› ") for line in told.said.splitlines()]
    assert listed[listed.index("1  It was built in 1863.") + 1] == "2  It was built in 1863.  (shown)"
    assert "2  Second?" in listed
    assert "answer  (version 1 of 2)" in told.noted


@pytest.mark.parametrize(
    ("line", "said"),
    [("/branch x", "such as 2"), ("/branch 3", "such as 2"), ("/branch 1 2", "from 1 to 1"), ("/branch 1a 0", "from 1 to 1"),
     ("/branch 1 1 1", "such as 2"), ("/branch 0a", "such as 2")],
)  # fmt: skip
def test_a_branch_that_is_not_there_is_said_and_the_talk_goes_on(talk: Any, line: str, said: str) -> None:
    told = talk("First?", line, "Second?")
    assert told.questions == ["First?", "Second?"]
    assert said in " ".join(told.noted.split())


@pytest.mark.parametrize("line", ["/edit", "/edit two words", "/edit 0 x", "/edit 7 x", "/nothing", "/Edit 1 x y"])
def test_what_cannot_be_done_is_said_and_the_talk_goes_on(talk: Any, line: str) -> None:
    told = talk("First?", line, "Second?")
    known = line.startswith("/E")  # no command is written so: it is a question
    assert told.questions == ["First?", *([line] if known else []), "Second?"]
    assert known or "/list shows" in told.noted or "/help lists" in told.noted


def test_nothing_to_go_back_to_is_said(talk: Any) -> None:
    told = talk("/again", "/edit 1 x", "/list", "First?")
    assert told.questions == ["First?"]
    assert "no answer yet" in told.noted


def test_questions_may_begin_with_a_slash(talk: Any) -> None:
    assert talk("/etc/hosts holds what?", "//edit 1 is what?").questions == ["/etc/hosts holds what?", "/edit 1 is what?"]
