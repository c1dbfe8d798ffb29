"""What is in the outbox arrives, on PostgreSQL: the tests of the Notifier that are about its rows."""

import pytest

from tests.unit.alerts.test_notifier import (
    test_a_restart_amid_an_outage_neither_hurries_nor_overtakes,
    test_a_sink_that_is_down_for_an_hour_has_every_message_afterwards_once_and_in_order,
    test_quiet_hours_hold_all_but_critical_back_also_what_is_tried_again_in_them,
    test_what_a_dead_sender_held_is_taken_again_by_its_next_at_once_by_another_when_the_lease_is_over,
    there,
)

pytestmark = pytest.mark.usefixtures("on_postgresql")

__all__ = [
    "test_a_restart_amid_an_outage_neither_hurries_nor_overtakes",
    "test_a_sink_that_is_down_for_an_hour_has_every_message_afterwards_once_and_in_order",
    "test_quiet_hours_hold_all_but_critical_back_also_what_is_tried_again_in_them",
    "test_what_a_dead_sender_held_is_taken_again_by_its_next_at_once_by_another_when_the_lease_is_over",
    "there",
]
