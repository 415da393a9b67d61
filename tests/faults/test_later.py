"""Rows that wait for what is not built yet."""

import pytest

from tests.faults.table import row


@row(42)
@pytest.mark.skip(reason="configuration is not watched yet")
def test_a_broken_configuration_leaves_the_old_one_in_its_place():
    raise NotImplementedError


@row(43)
@pytest.mark.skip(reason="no breaker is built in yet")
def test_when_every_breaker_is_open_one_probe_is_made_and_the_others_fail_at_once():
    raise NotImplementedError
