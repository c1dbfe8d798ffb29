"""The first word of a replica's end."""

from serve.parting import wrap


class Replica:
    """As Ray Serve's: ended once, by this method."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def perform_graceful_shutdown(self) -> str:
        self.said.append("shut down")
        return "done"


async def test_streams_are_told_before_serve_waits_for_them() -> None:
    replica = Replica()
    assert wrap(replica, lambda: replica.said.append("told"))
    assert await replica.perform_graceful_shutdown() == "done"
    assert replica.said == ["told", "shut down"]


def test_a_replica_that_ends_otherwise_is_left_as_it_is() -> None:
    assert not wrap(object(), lambda: None)
