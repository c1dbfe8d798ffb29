"""The tests of the feed as clients follow it, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_changes import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
