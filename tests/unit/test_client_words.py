"""What an owner raised reaches its caller as it was: its own words, without Ray's traceback around them."""

import pytest
from ray.exceptions import RayTaskError

from perenne import names
from perenne.client import RayDirectory
from perenne.errors import NotFound, PerenneError, Unavailable


class _Method:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def remote(self, **_: object) -> None:
        raise self._error


class _Owner:
    def __init__(self, error: Exception) -> None:
        self.project = _Method(error)


def owner(error: Exception) -> _Owner:
    """An owner whose method failed over there: what Ray raises is of its own class and of the cause's at once."""
    return _Owner(
        RayTaskError(
            "project", "Traceback (most recent call last):\n  File x", error, "ray::Owner", 1, "127.0.0.1"
        ).as_instanceof_cause()
    )


@pytest.mark.parametrize(
    "error", [NotFound("project", "orla"), Unavailable("store", 0.5, "it starts")], ids=["not_found", "unavailable"]
)
async def test_the_words_of_an_owners_error_are_its_own(error: PerenneError) -> None:
    directory = RayDirectory()
    directory._handles[names.STORE_WRITER] = owner(error)
    with pytest.raises(type(error)) as caught:
        await directory.call(names.STORE_WRITER, "project", timeout_s=5.0)
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
