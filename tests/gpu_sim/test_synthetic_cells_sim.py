"""Cells of any shape on the device against the CPU, which tests/test_synthetic_cells.py compares with NumPy: the same
shapes, which the CPU compiles once."""

import numpy as np
import pytest
from test_synthetic_cells import EXTENDED, SHAPES, Shape, made

import throughtime as tt
from throughtime.engine.cuda import device


@pytest.mark.parametrize("shape", [*SHAPES, EXTENDED[0], EXTENDED[2]], ids=str)
def test_shapes(shape):
    net = tt.Network(made(shape)(0.7), 2, 3, seed=1)
    rng = np.random.default_rng(2)
    x, g = rng.standard_normal((3, 2, 2)), rng.standard_normal((3, 2, 3))
    run, there = net.unroll(x, lengths=[3, 2]), net.to("cuda").unroll(x, lengths=[3, 2])
    v = rng.standard_normal((2, net.state_size))
    expected, found = run.backprop(g), there.backprop(g)
    pairs = [(there.states, run.states), (found.input, expected.input), (there.jacobian(2), run.jacobian(2))]
    pairs += [(found.parameters[name], value) for name, value in expected.parameters.items()]
    pairs += [(there.jvp(v, 0, 3), run.jvp(v, 0, 3)), (there.vjp(v, 0, 3), run.vjp(v, 0, 3))]
    for ours, theirs in pairs:
        np.testing.assert_allclose(
            device.to_host(ours) if device.on_device(ours) else ours, theirs, rtol=1e-12, atol=1e-12
        )


def test_more_gates_than_the_kernels_hold():
    """Registers end somewhere: a sentence, and the CPU goes on."""
    net = tt.Network(made(Shape(40, 1, 1))(0.7), 2, 3, seed=1)
    with pytest.raises(ValueError, match=r"hidden_size=3 with 40 gates is more than the GPU's kernels hold"):
        net.to("cuda").unroll(np.zeros((3, 2, 2)))
    wired = made(Shape(2, 1, 3, False, False, (("a",),), (tuple(f"b{k}" for k in range(40)),)))
    net = tt.Network(wired(0.7), 2, 3, seed=1)
    with pytest.raises(ValueError, match=r"hidden_size=3 with 41 parts of r is more than the GPU's kernels hold"):
        net.to("cuda").unroll(np.zeros((3, 2, 2)))


def test_parts_do_not_count_where_nothing_is_sent():
    """Without a product there is nothing to hold."""
    cell = made(Shape(40, 1, 1, False, False, (), (), 2))(0.7)
    run = tt.Network(cell, 2, 3, seed=1).to("cuda").unroll(np.ones((3, 2, 2)))
    assert np.isfinite(device.to_host(run.backprop(np.ones((3, 2, 3))).parameters["p1_l0"])).all()
