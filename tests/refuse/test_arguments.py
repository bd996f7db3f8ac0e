"""Whole numbers in a range: what counts as one, and the words about what does not."""

import numpy as np
import pytest

from throughtime.refuse import arguments


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_whole_numbers_come_as_pythons_own(value):
    assert arguments.within(value, 1, 3)
    found = arguments.step("t", value, 1, 3)
    assert (type(found), found) == (int, 3)
    assert arguments.step("t", value, 1, meaning="a time") == 3


@pytest.mark.parametrize("value", [0, 4, -(2**70), 2**70, True, np.True_, 2.0, "2", None, [2], np.array([2, 3])])
def test_others_are_outside(value):
    assert not arguments.within(value, 1, 3)
    with pytest.raises(ValueError, match=r"^`t` is .*; times go from 1 to 3\.$"):
        arguments.step("t", value, 1, 3, "times go from 1 to 3")
    with pytest.raises((TypeError, ValueError), match=r"^`t` is .*"):
        arguments.step("t", value, 1, 3)


def test_the_range_in_words():
    with pytest.raises(ValueError, match=r"^`t` is 0; expected a whole number from 1 to 3\.$"):
        arguments.step("t", 0, 1, 3)
    with pytest.raises(ValueError, match=r"^`t` is -1; expected a whole number of at least 0\.$"):
        arguments.step("t", -1, 0)


def test_real_numbers():
    for value in (1, -2.5, np.int8(3), np.float32(0.5), float("nan"), np.inf):
        assert arguments.is_real(value), value
    for value in (True, np.True_, 1j, "1", None, [1.0], np.ones(2)):
        assert not arguments.is_real(value), value
