"""Blocks of ports."""

import socket

import pytest

from cluster.ports import BLOCK, FIRST, LAST, Ports, find_block, is_free
from perenne.errors import ConfigurationError


def test_a_block_with_a_taken_port_is_passed_over():
    taken = {FIRST + 3}
    assert find_block(0, free=lambda port: port not in taken) == FIRST + BLOCK


def test_no_two_names_share_a_port_and_all_are_in_the_block():
    ports = Ports(FIRST)
    spans = {*range(ports.span((20, 39))[0], ports.span((40, 59))[1] + 1), *range(ports.workers[0], ports.workers[1] + 1)}
    assert len(set(ports.fixed)) == len(ports.fixed)
    assert not spans & set(ports.fixed)
    assert all(FIRST <= port < FIRST + BLOCK for port in {*spans, *ports.fixed})


def test_blocks_stay_below_the_ephemeral_range():
    assert find_block(10**9, free=lambda port: port + BLOCK <= LAST) + BLOCK <= LAST


def test_a_full_machine_is_a_sentence():
    with pytest.raises(ConfigurationError, match="PERENNE_PORT_BASE"):
        find_block(5, free=lambda port: False)


def test_a_listener_makes_its_port_taken():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert not is_free(holder.getsockname()[1])
