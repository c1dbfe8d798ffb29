"""kill -9 of a writer over PostgreSQL, and the two checks that must fail: the tests of the store's own."""

import pytest

from tests.unit.store.test_store_kill import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
