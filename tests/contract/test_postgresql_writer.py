"""The tests of the store's writer, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_writer import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")

del test_a_full_disk_loses_the_transaction_and_nothing_that_was_answered  # noqa: F821 - SQLite is given a small disk by a pragma
