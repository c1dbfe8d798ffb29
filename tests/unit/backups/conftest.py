from collections.abc import Iterator

import pytest

from actors.backups import charter


@pytest.fixture(autouse=True, scope="session")
def cheap_passphrases() -> Iterator[None]:
    """A guess at a passphrase costs 0.2 s of processor time on purpose; tests open hundreds of repositories."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charter, "_WORK", {**charter._WORK, "n": 1 << 10})
        yield
