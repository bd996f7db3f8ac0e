"""The tests for a device, tests/gpu, and what tests/gpu_sim asks of networks, runs and analyses, on the emulated one.

A kernel takes seconds to compile, so some of tests/gpu is run, chosen to have every cut of the loops;
THROUGHTIME_TESTS=all runs the whole of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import pytest
from whole import ALL

TESTS = Path(__file__).parents[1]
with mock.patch.object(sys, "path", [str(TESTS / "gpu"), str(TESTS / "gpu_sim"), *sys.path]):
    import test_conformance_gpu as on_a_device
    import test_device_run as runs
    import test_on_device as analyses

# ------------------------------------------------------------------------------------------------------- tests/gpu

SOME = [("lstm", 3, 1, "float64"), ("lstm", 120, 2, "float64"), ("gru", 300, 5, "float32")]
SIZES = on_a_device.SIZES if ALL else [(64, 3)]
CASES = [(c, *s, d) for d in on_a_device.BOUND for c in on_a_device.CELLS for s in SIZES] if ALL else SOME


@pytest.mark.parametrize(("cell", "units", "batch", "dtype"), CASES)
def test_the_devices_agree(cell, units, batch, dtype):
    on_a_device.test_the_devices_agree(cell, units, batch, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"] if ALL else ["float32"])
def test_layers_in_both_directions_agree(dtype):
    on_a_device.test_layers_in_both_directions_agree("adapting", dtype)


@pytest.mark.parametrize(("units", "batch"), SIZES)
def test_the_same_bits_every_time(units, batch):
    on_a_device.test_the_same_bits_every_time(units, batch, "float32")


# --------------------------------------------------------------------------------------------------- tests/gpu_sim


@pytest.fixture(params=runs.CASES if ALL else ["lstm"], scope="module")
def pair(request):
    return runs.both(request.param)


@pytest.fixture(params=["lstm", "tanh", "gru-2"] if ALL else ["lstm"])
def net(request):
    return analyses.network(request.param)


# Most of these have kernels of their own.
LONG = [] if ALL else ["test_sum_rule_is_that_of_the_jacobians"]
for module in (runs, analyses):
    globals().update({name: check for name, check in vars(module).items() if name[:5] == "test_" and name not in LONG})
