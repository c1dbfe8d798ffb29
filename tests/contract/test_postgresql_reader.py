"""The tests of the store's reader, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_reader import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
