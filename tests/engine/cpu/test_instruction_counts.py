"""The loops take as many instructions per step as the committed table says."""

from __future__ import annotations

import instruction_counts as counts
import llvmlite
import pytest


@pytest.mark.slow
def test_the_counts_are_the_committed_ones():
    version, committed = counts.read()
    if reason := counts.why_not():
        pytest.skip(reason)
    if version != f"llvmlite {llvmlite.__version__}":
        pytest.skip(f"the table is of {version}, this is {llvmlite.__version__}; to write it anew: {counts.ANEW}")
    found, kept = counts.counted(), {tuple(map(str, case)) for case in counts.chosen()}
    committed = {key: number for key, number in committed.items() if key[:-1] in kept}
    assert all(number >= counts.least(key) for key, number in found.items()), "fewer than the products alone need"
    shown = "\n".join(counts.differences(found, committed))
    assert not shown, f"\n{shown}\nif it is meant: {counts.ANEW}"


def test_every_cell_and_both_precisions_are_counted():
    """A test of the test."""
    for column in range(2):
        assert {case[column] for case in counts.chosen()} == {case[column] for case in counts.CASES}


def test_a_change_shows():
    """A test of the test: three per cent pass, in both directions, and anything more is shown."""
    _, committed = counts.read()
    assert len(committed) == len(counts.CASES) * len(counts.PASSES)
    for key, number in committed.items():
        for factor, shows in ((0.975, False), (1.025, False), (0.965, True), (1.035, True)):
            assert len(counts.differences({**committed, key: factor * number}, committed)) == shows
        one_less = {other: committed[other] for other in committed if other != key}
        assert len(counts.differences(one_less, committed)) == len(counts.differences(committed, one_less)) == 1
