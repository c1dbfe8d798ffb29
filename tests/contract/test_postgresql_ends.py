"""The tests of the store's ends, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_ends import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
