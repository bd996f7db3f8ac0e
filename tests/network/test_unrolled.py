"""What an unrolled network gives back: shapes, conventions, frozen states, empty input."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from networks import CELLS, problem, same_bits

import throughtime as tt
from throughtime.engine import memory
from throughtime.engine.cpu import jacobians, shares

CELL = pytest.mark.parametrize("cell", CELLS)


@CELL
def test_shapes(cell):
    p = problem(cell, 5, 3, 2, 4, layers=2, bidirectional=True)
    m, size = p.plain.cell.states, p.plain.state_size
    run = p.unroll()
    assert p.net.state_size == size == 2 * 2 * m * 4
    assert run.network is p.net
    assert run.lengths is None
    assert run.output.shape == (5, 3, 8)
    assert run.states.shape == (6, 3, size)
    final = run.final_state if m > 1 else (run.final_state,)
    assert isinstance(run.final_state, tuple) == (m > 1)
    assert [part.shape for part in final] == [(4, 3, 4)] * m
    grads = p.backprop(run)
    assert grads.input.shape == p.x.shape
    assert grads.states.shape == run.states.shape
    initial = grads.initial_state if m > 1 else (grads.initial_state,)
    assert [part.shape for part in initial] == [(4, 3, 4)] * m
    assert {name: value.shape for name, value in grads.parameters.items()} == {
        k: v.shape for k, v in p.net.parameters.items()
    }


def test_jacobian_shapes():
    p = problem("lstm", 5, 3, 2, 4, layers=2)
    run = p.unroll()
    assert run.jacobian(1).shape == (3, 16, 16)
    assert run.jvp(np.zeros((3, 16)), 0, 5).shape == (3, 16)
    assert run.vjp(np.zeros((3, 16, 7)), 2, 4).shape == (3, 16, 7)
    v = np.random.default_rng(0).standard_normal((3, 16, 2))
    np.testing.assert_array_equal(run.jvp(v, 3, 3), v)  # no step, no change
    np.testing.assert_array_equal(run.vjp(v, 3, 3), v)


@pytest.mark.parametrize(("units", "dtype"), [(5, "float64"), (37, "float64"), (41, "float32")])
@CELL
def test_jacobians_of_many_steps_are_those_of_each(threads, monkeypatch, cell, units, dtype):
    """Units that fill no vector and some that fill a few; every number is written, and the same by any team."""
    p = problem(cell, 6, 4, 2, units, dtype=dtype, lengths=[6, 3, 1, 0])
    run, size = p.unroll(), p.plain.state_size
    monkeypatch.setattr(memory, "SMALLEST", 0)
    monkeypatch.setattr(shares, "MOVED", 0)
    memory.empty((6, 4, size, size), dtype).fill(np.nan)  # what an unwritten number would show
    threads(1)
    found = run.jacobians()
    assert found.shape == (6, 4, size, size)
    eye, tolerance = np.broadcast_to(np.eye(size, dtype=dtype), (4, size, size)), 100 * np.finfo(dtype).eps
    for t in range(6):
        np.testing.assert_allclose(found[t], run.jvp(eye, t, t + 1), rtol=tolerance, atol=tolerance)
    for count in (1, 2, 3, 5):
        threads(count)
        for start, stop in ((0, None), (2, 5), (3, 4), (4, 4)):
            np.testing.assert_array_equal(run.jacobians(start, stop), found[start:stop])
        np.testing.assert_array_equal(run.jacobian(3), found[2])


@pytest.mark.parametrize("cell", ["tanh", "rate", "lstm"])
def test_jacobians_of_stacked_layers(threads, monkeypatch, cell):
    p = problem(cell, 6, 3, 2, 11, layers=3, lengths=[6, 3, 0])
    run, size = p.unroll(), p.plain.state_size
    memory.empty((6, 3, size, size), "float64").fill(np.nan)
    found, eye = run.jacobians(), np.broadcast_to(np.eye(size), (3, size, size))
    for t in range(6):
        np.testing.assert_allclose(found[t], run.jvp(eye, t, t + 1), rtol=1e-13, atol=1e-13)
    monkeypatch.setattr(shares, "MOVED", 0)
    monkeypatch.setattr(jacobians, "AT_ONCE", 1)
    threads(2)
    np.testing.assert_array_equal(run.jacobians(), found)
    np.testing.assert_array_equal(run.jacobian(4), found[3])


@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
@CELL
def test_one_sequence_without_a_batch(cell, bidirectional):
    p = problem(cell, 5, 1, 2, 4, layers=2, bidirectional=bidirectional)
    with_batch, m = p.unroll(), p.plain.cell.states
    state = tuple(part[:, 0] for part in p.state) if m > 1 else p.state[:, 0]
    run = p.net.unroll(p.x[:, 0], state=state)
    assert run.input.shape == (5, 1, 2)
    assert run.output.shape == (5, 4 * p.plain.directions)
    assert run.states.shape == with_batch.states.shape
    np.testing.assert_array_equal(run.output, with_batch.output[:, 0])
    np.testing.assert_array_equal(run.states, with_batch.states)
    grad = naive.unflatten(p.plain, p.grad_final)
    grads = run.backprop(p.grad_output[:, 0], tuple(part[:, 0] for part in grad) if m > 1 else grad[:, 0])
    expected = p.backprop(with_batch)
    np.testing.assert_array_equal(grads.input, expected.input[:, 0])
    np.testing.assert_array_equal(grads.states, expected.states)
    for ours, theirs in ((run.final_state, with_batch.final_state), (grads.initial_state, expected.initial_state)):
        for part, full in zip(*((ours, theirs) if m > 1 else ((ours,), (theirs,))), strict=True):
            np.testing.assert_array_equal(part, full[:, 0])


def test_batch_first_turns_input_and_output_only():
    p = problem("gru", 5, 3, 2, 4, layers=2, lengths=[5, 2, 0])
    turned = tt.Network("gru", 2, 4, num_layers=2, batch_first=True, seed=0)
    turned.load_state_dict(p.net.state_dict())
    run, expected = turned.unroll(p.x.transpose(1, 0, 2), state=p.state, lengths=p.lengths), p.unroll()
    np.testing.assert_array_equal(run.output, expected.output.transpose(1, 0, 2))
    np.testing.assert_array_equal(run.states, expected.states)
    np.testing.assert_array_equal(run.final_state, expected.final_state)
    np.testing.assert_array_equal(run.input, expected.input)  # (T, B, I)
    grads = run.backprop(p.grad_output.transpose(1, 0, 2), naive.unflatten(p.plain, p.grad_final))
    assert grads.input.shape == (3, 5, 2)
    np.testing.assert_array_equal(grads.input, p.backprop(expected).input.transpose(1, 0, 2))
    np.testing.assert_array_equal(grads.states, p.backprop(expected).states)
    # One sequence has no batch axis to come first.
    np.testing.assert_array_equal(turned.unroll(p.x[:, 0]).output, p.net.unroll(p.x[:, 0]).output)


@CELL
def test_where_the_states_are(cell):
    """Forward: states[t+1] follows input t. Reverse: states[t] follows input t, reached from the right."""
    p = problem(cell, 5, 3, 2, 4, bidirectional=True, lengths=[5, 3, 0])
    run, block = p.unroll(), p.plain.block
    forward, reverse = run.states[..., :block], run.states[..., block:]
    np.testing.assert_array_equal(forward[0], p.start[:, :block])
    final = naive.flatten(p.plain, run.final_state)
    for b, end in enumerate(p.lengths):
        np.testing.assert_array_equal(final[b, :block], forward[end, b])
        np.testing.assert_array_equal(final[b, block:], reverse[0, b])
        np.testing.assert_array_equal(forward[end:, b], np.broadcast_to(forward[end, b], forward[end:, b].shape))
        np.testing.assert_array_equal(reverse[end:, b], np.broadcast_to(p.start[b, block:], reverse[end:, b].shape))
        np.testing.assert_array_equal(run.output[end:, b], 0)
    if p.plain.cell.emit is naive.Cell._field_defaults["emit"]:  # these units send their first state
        np.testing.assert_array_equal(run.output[0, 0], np.concatenate([forward[1, 0, :4], reverse[0, 0, :4]]))


def test_padding_is_not_read():
    p = problem("lstm", 5, 3, 2, 4, layers=2, bidirectional=True, lengths=[5, 3, 0])
    x, grad = p.x.copy(), p.grad_output.copy()
    x[3:, 1], x[:, 2], grad[3:, 1], grad[:, 2] = np.nan, np.inf, np.nan, np.nan
    spoilt = p._replace(x=x, grad_output=grad)
    run, expected = spoilt.unroll(), p.unroll()
    np.testing.assert_array_equal(run.output, expected.output)
    np.testing.assert_array_equal(run.states, expected.states)
    ours, theirs = spoilt.backprop(run), p.backprop(expected)
    same_bits(ours.parameters, theirs.parameters)
    np.testing.assert_array_equal(ours.input, theirs.input)
    np.testing.assert_array_equal(ours.input[3:, 1], 0)


def test_the_run_keeps_its_own_input():
    p = problem("tanh", 5, 3, 2, 4)
    x = p.x.copy()
    run = p.net.unroll(x, state=p.state)
    before = p.backprop(run)
    x[...] = 100
    np.testing.assert_array_equal(run.input, p.x)
    same_bits(p.backprop(run).parameters, before.parameters)


def test_state_is_zero_unless_given():
    p = problem("lstm", 5, 3, 2, 4)
    zero = naive.unflatten(p.plain, np.zeros_like(p.start))
    np.testing.assert_array_equal(p.net.unroll(p.x).states, p.net.unroll(p.x, state=zero).states)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("cell", ["tanh", "rate", "lstm"])
def test_nothing_in_nothing_out(cell, steps, batch, bidirectional):
    p = problem(cell, steps, batch, 2, 4, layers=2, bidirectional=bidirectional)
    run, size = p.unroll(), p.plain.state_size
    assert run.output.shape == (steps, batch, 4 * p.plain.directions)
    assert run.states.shape == (steps + 1, batch, size)
    np.testing.assert_array_equal(run.states[0], p.start)
    np.testing.assert_array_equal(naive.flatten(p.plain, run.final_state), p.start)
    for window in (None,) if bidirectional else (None, 1):
        grads = p.backprop(run, window)
        assert grads.input.shape == (steps, batch, 2)
        assert grads.states.shape == (steps + 1, batch, size)
        np.testing.assert_array_equal(naive.flatten(p.plain, grads.initial_state), p.grad_final)
        for name, value in grads.parameters.items():
            np.testing.assert_array_equal(value, np.zeros_like(p.net.parameters[name]))
    if not bidirectional:
        v = np.ones((batch, size, 2))
        np.testing.assert_array_equal(run.jvp(v, 0, 0), v)
        assert run.vjp(v, 0, steps).shape == v.shape
        assert run.jacobians().shape == (steps, batch, size, size)


def test_no_loss_is_an_error_and_a_loss_without_slope_no_gradient():
    run = problem("lstm", 5, 3, 2, 4).unroll()
    with pytest.raises(ValueError, match="grad_output"):
        run.backprop()
    grads = run.backprop(np.zeros_like(run.output))
    assert not grads.input.any()
    assert not grads.states.any()
    assert not any(value.any() for value in grads.parameters.values())


@pytest.mark.parametrize("part", ["output", "final"])
def test_each_loss_alone(part):
    p = problem("lstm", 5, 3, 2, 4)
    zeros = {"grad_output": p.grad_output * 0} if part == "final" else {"grad_final": p.grad_final * 0}
    both = p._replace(**zeros)
    run = p.unroll()
    final = naive.unflatten(p.plain, p.grad_final)
    alone = run.backprop(p.grad_output) if part == "output" else run.backprop(grad_final_state=final)
    same_bits(alone.parameters, both.backprop(run).parameters)
    np.testing.assert_array_equal(alone.input, both.backprop(run).input)


def test_a_bidirectional_network_has_no_jacobian():
    run = problem("tanh", 5, 3, 2, 4, bidirectional=True).unroll()
    for call in (
        lambda: run.jacobian(1),
        run.jacobians,
        lambda: run.jvp(np.zeros((3, 8)), 0, 5),
        lambda: run.vjp(np.zeros((3, 8)), 0, 5),
    ):
        with pytest.raises(ValueError, match="bidirectional"):
            call()


def test_a_bidirectional_network_has_no_window():
    run = problem("tanh", 5, 3, 2, 4, bidirectional=True).unroll()
    with pytest.raises(ValueError, match="bidirectional"):
        run.backprop(np.zeros((5, 3, 8)), window=2)


@pytest.mark.parametrize("window", [0, -1, 2.5, True, "all"])
def test_a_window_is_a_positive_number_of_steps(window):
    run = problem("tanh", 5, 3, 2, 4).unroll()
    with pytest.raises((ValueError, TypeError), match="window"):
        run.backprop(np.zeros((5, 3, 4)), window=window)


@pytest.mark.parametrize("t", [0, 6, -1])
def test_jacobian_exists_from_1_to_T(t):
    with pytest.raises((ValueError, IndexError), match=str(t)):
        problem("tanh", 5, 3, 2, 4).unroll().jacobian(t)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 6)])
def test_tangents_run_between_0_and_T(start, stop):
    run = problem("tanh", 5, 3, 2, 4).unroll()
    for call in (run.jvp, run.vjp):
        with pytest.raises((ValueError, IndexError), match=f"{start}|{stop}"):
            call(np.zeros((3, 4)), start, stop)
    with pytest.raises(ValueError, match=f"{start}|{stop}"):
        run.jacobians(start, stop)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int64])
def test_times_are_whole_numbers_of_any_size(kind):
    """S*T is more than fits the small ones."""
    run = tt.Network("tanh", 2, 20, num_layers=2, seed=0).unroll(np.ones((100, 2)))
    v, start, stop = np.ones((1, 40)), kind(1), kind(100)
    for found in (run.jvp, run.vjp):
        np.testing.assert_array_equal(found(v, start, stop), found(v, 1, 100))
    np.testing.assert_array_equal(run.jacobians(start, stop), run.jacobians(1, 100))
    np.testing.assert_array_equal(run.costates(v, None, start, stop), run.costates(v, None, 1, 100))
    np.testing.assert_array_equal(run.pullback(v, start, stop)[0], run.pullback(v, 1, 100)[0])
    np.testing.assert_array_equal(run.jvp_rows(v[None], start, stop), run.jvp_rows(v[None], 1, 100))


@pytest.mark.parametrize("window", [None, 2])
def test_gradients_come_in_the_order_of_the_parameters(window):
    net = tt.Network("gru", 2, 3, num_layers=2, seed=0)
    net.parameters = dict(sorted(net.parameters.items()))
    run = net.unroll(np.ones((5, 2)))
    assert list(run.backprop(run.output, window=window).parameters) == list(net.parameters)
