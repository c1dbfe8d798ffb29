"""The tests of alerts and their outbox in the store, on PostgreSQL."""

import pytest

from tests.unit.store.test_store_alerts import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("on_postgresql")
