"""Numbers of bodies."""

import pytest
from pydantic import ValidationError

from serve.bodies import MessageBody, SearchBody
from serve.openai_bodies import CompletionBody


def test_a_whole_number_may_be_written_with_a_point():
    assert SearchBody.model_validate({"query": "x", "k": 10.0}).k == 10
    assert CompletionBody.model_validate({"model": "m", "prompt": "x", "max_tokens": 5.0}).max_tokens == 5
    asked = MessageBody.model_validate({"text": "x", "options": {"seed": 3.0, "temperature": 1.0}})
    assert (asked.options.seed, asked.options.temperature) == (3, 1.0)


@pytest.mark.parametrize("k", [10.5, "10", True, float("inf"), 1e300])
def test_what_is_no_whole_number_is_refused(k):
    with pytest.raises(ValidationError):
        SearchBody.model_validate({"query": "x", "k": k})
