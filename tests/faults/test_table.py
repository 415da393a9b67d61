"""The table of faults has a test for each row, and its page says which."""

import pytest

from tests.faults.table import PAGE, PROPERTIES, ROWS, holdings, page


@pytest.mark.parametrize("number", ROWS)
def test_every_row_has_a_test(number):
    assert [one for one in holdings() if number in one.rows]


@pytest.mark.parametrize("number", PROPERTIES)
def test_every_property_has_a_test(number):
    assert [one for one in holdings() if number in one.properties and not one.skipped]


def test_only_tests_hold_rows_and_properties_and_only_those_of_the_table():
    for one in holdings():
        assert one.name.startswith("test_") or one.name.endswith("Machine")
        assert set(one.rows) <= set(ROWS)
        assert set(one.properties) <= set(PROPERTIES)
        assert one.rows or one.properties


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == page(), "write it anew with `python -m tests.faults.table`"
