"""The words of a reason on the terminal."""

from typing import Any, get_args

import pytest

from perenne.cli.reasons import reason_words
from perenne.messages.records import Document, ReasonCode


def told(**why: Any) -> str:
    return reason_words(Document(id="d", user_id="u", title="t", state="refused", created_at=0, updated_at=0, **why))


def test_a_reason_is_said_from_its_code_and_figures() -> None:
    assert "30,000 pages" in told(reason="x", code="too_many_pages", details={"count": 30_000, "limit": 20_000})
    assert "--password" in told(reason="x", code="password_needed")


@pytest.mark.parametrize("code", get_args(ReasonCode))
def test_every_code_has_words_and_a_figure_that_is_missing_breaks_none(code: ReasonCode) -> None:
    said = told(reason="the sentence", code=code)
    assert said
    assert (said == "the sentence") == (code == "waiting"), "an outage is said in its own sentence"


def test_a_reason_without_a_code_is_said_as_it_came() -> None:
    assert told(reason="as it came") == "as it came"
    assert told() == ""
