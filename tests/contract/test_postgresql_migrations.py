"""The tests of the store's migrations, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_migrations import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
