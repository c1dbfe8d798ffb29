from perenne.errors import PerenneError
from serve.answers import json_bytes
from serve.errors import STATUS, described, error_answer, status_of
from serve.grounded import BEGAN_AGAIN, Telling


def told(*steps: str | None) -> str:
    telling = Telling()
    said = ""
    for step in steps:
        if step is None:
            telling.restart()
        else:
            said += telling.tell(step)
    return said


def test_a_new_attempt_that_repeats_the_old_one_is_not_heard_twice() -> None:
    assert told("one ", "two ", None, "one ", "two ", "three") == "one two three"
    assert told("one ", "two ", None, "one two three", " four") == "one two three four"


def test_a_new_attempt_that_differs_says_that_it_began_again() -> None:
    assert told("one ", "two", None, "one ", "three", " four") == f"one two{BEGAN_AGAIN}one three four"


def test_a_restart_before_the_first_word_is_not_told() -> None:
    assert told(None, "one", None, "one", " two") == "one two"


def test_every_error_has_a_status_and_an_unexpected_one_tells_nothing() -> None:
    def kinds(kind: type[PerenneError]) -> set[type[PerenneError]]:
        return {kind}.union(*(kinds(sub) for sub in kind.__subclasses__()))

    for kind in kinds(PerenneError):
        assert any(parent in STATUS for parent in kind.__mro__)
    assert status_of(ValueError("secret")) == 500
    assert "secret" not in str(described(ValueError("secret")))
    assert b"secret" not in error_answer("/v1/models", ValueError("secret")).body


def test_json_survives_what_json_cannot_say() -> None:
    assert json_bytes({"a": float("nan")}) == b'{"a":null}'
    assert b"?" in json_bytes({"a": "x\ud800"})
