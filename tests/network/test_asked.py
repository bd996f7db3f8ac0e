"""What is asked of `backprop`: fewer gradients, those of every sequence, arrays of one's own; the bits are the same."""

from __future__ import annotations

import numpy as np
import pytest
from networks import CELLS, problem, same_bits

import throughtime as tt

CASES = {
    "plain": {},
    "deep, two directions, padding": {"layers": 2, "bidirectional": True, "lengths": [7, 0, 3]},
    "float32 without bias": {"dtype": "float32", "bias": False},
}
CELL, CASE = pytest.mark.parametrize("cell", CELLS), pytest.mark.parametrize("case", CASES)


def of(cell, case, units=5):
    p = problem(cell, 7, 3, 2, units, **CASES[case])
    run = p.unroll()
    final = tuple(p.grad_final.reshape(3, -1, p.plain.cell.states, units).transpose(2, 1, 0, 3))
    return p, run, (p.grad_output, final if len(final) > 1 else final[0])


@CASE
@CELL
def test_what_is_not_asked_for_is_none_and_the_rest_has_the_same_bits(cell, case):
    p, run, g = of(cell, case)
    whole = run.backprop(*g)
    for flags in ({"input": False}, {"states": False}, {"input": False, "states": False}):
        part = run.backprop(*g, **flags)
        same_bits(part.parameters, whole.parameters)
        for name in ("input", "states"):
            if flags.get(name, True):
                np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))
            else:
                assert getattr(part, name) is None
        np.testing.assert_array_equal(part.initial_state, whole.initial_state)
    names = list(p.net.parameters)
    for chosen in ([], names[:1], names[-1:], names[::2], names[1::2]):
        part = run.backprop(*g, parameters=chosen)
        assert list(part.parameters) == chosen
        same_bits(part.parameters, {name: whole.parameters[name] for name in chosen})
        np.testing.assert_array_equal(part.input, whole.input)
        np.testing.assert_array_equal(part.states, whole.states)


@CASE
@CELL
def test_each_sequence_has_the_gradient_of_a_run_of_its_own(cell, case):
    p, run, g = of(cell, case)
    each, whole = run.backprop(*g, per_sequence=True), run.backprop(*g)
    np.testing.assert_array_equal(each.input, whole.input)
    for name, value in whole.parameters.items():
        assert each.parameters[name].shape == (3, *value.shape)
        scale = np.abs(each.parameters[name]).sum(axis=0).max()
        eps = np.finfo(value.dtype).eps  # sums of 7·3 products, in another order
        np.testing.assert_allclose(each.parameters[name].sum(axis=0), value, rtol=0, atol=50 * eps * scale + eps)
    state = p.state if isinstance(p.state, tuple) else (p.state,)
    for b in range(3):
        here = slice(b, b + 1)
        first, end = (tuple(part[:, here] for part in (s if isinstance(s, tuple) else (s,))) for s in (state, g[1]))
        first, end = (s if len(s) > 1 else s[0] for s in (first, end))
        lengths = None if p.lengths is None else p.lengths[here]
        alone = p.net.unroll(p.x[:, here], first, lengths).backprop(g[0][:, here], end)
        same_bits({name: value[b] for name, value in each.parameters.items()}, alone.parameters)


@pytest.mark.parametrize("options", [{}, {"dtype": "float32", "lengths": [90, 41]}])
@pytest.mark.parametrize("cell", ["lstm", "rate"])
def test_the_same_bits_for_any_number_of_threads_and_pieces_of_time(threads, cell, options):
    """Large enough for two threads, and for several pieces of time between which the sums go on."""
    p = problem(cell, 90, 2, 3, 37, **options)
    g, found = p.grad_output, []
    for count in (1, 2):
        threads(count)
        run = p.net.unroll(p.x, lengths=p.lengths)
        each = run.backprop(g, per_sequence=True, parameters=["weight_hh_l0", "bias_ih_l0"], input=False).parameters
        found.append(each)
    same_bits(*found)
    lengths = (None, None) if p.lengths is None else p.lengths
    for b in range(2):
        own = None if lengths[b] is None else [lengths[b]]
        alone = p.net.unroll(p.x[:, b : b + 1], lengths=own).backprop(g[:, b : b + 1]).parameters
        same_bits({name: value[b] for name, value in each.items()}, {name: alone[name] for name in each})


@CASE
@pytest.mark.parametrize("cell", ["gru", "adapting"])
def test_out_is_written_and_handed_back(cell, case):
    p, run, g = of(cell, case)
    whole = run.backprop(*g)
    out = {name: np.full_like(value, np.nan) for name, value in whole.parameters.items()}
    again = run.backprop(*g, out=out)
    assert all(again.parameters[name] is out[name] for name in out)
    same_bits(out, whole.parameters)
    kept = run.backprop(2 * g[0])
    arrays = kept.input, kept.states, kept.parameters["weight_hh_l0"]
    into = run.backprop(*g, out=kept)
    own = into.input, into.states, into.parameters["weight_hh_l0"]
    assert all(a is b for a, b in zip(arrays, own, strict=True))
    same_bits(into.parameters, whole.parameters)
    for name in ("input", "states", "initial_state"):
        np.testing.assert_array_equal(getattr(into, name), getattr(whole, name))
    one = {"weight_hh_l0": np.empty((3, *whole.parameters["weight_hh_l0"].shape), p.net.dtype)}
    run.backprop(*g, out=one, parameters=list(one), per_sequence=True)
    same_bits(one, run.backprop(*g, parameters=list(one), per_sequence=True).parameters)


@pytest.mark.parametrize("layout", [{"batch_first": True}, {}])
def test_out_in_other_layouts(layout):
    net = tt.Network("lstm", 2, 4, seed=0, **layout)
    x = np.random.default_rng(0).normal(size=(3, 6, 2)) if layout else np.random.default_rng(0).normal(size=(6, 2))
    run = net.unroll(x)
    whole, out = run.backprop(run.output), run.backprop(np.ones_like(run.output))
    again = run.backprop(run.output, out=out)
    assert again.input is out.input
    assert again.input.shape == x.shape
    np.testing.assert_array_equal(again.input, whole.input)
    np.testing.assert_array_equal(again.states, whole.states)


@pytest.mark.parametrize("lengths", [None, [7, 0, 3]])
@pytest.mark.parametrize("cell", ["lstm", "rate"])
def test_truncated(cell, lengths):
    p = problem(cell, 7, 3, 2, 4, layers=2, lengths=lengths)
    run, g = p.unroll(), p.grad_output
    whole = run.backprop(g, window=3)
    part = run.backprop(g, window=3, input=False, states=False, parameters=["bias_hh_l1"])
    assert part.input is None
    assert part.states is None
    assert list(part.parameters) == ["bias_hh_l1"]
    same_bits(part.parameters, {"bias_hh_l1": whole.parameters["bias_hh_l1"]})
    each = run.backprop(g, window=3, per_sequence=True).parameters
    out = {name: np.full_like(value, np.nan) for name, value in each.items()}
    same_bits(run.backprop(g, window=3, per_sequence=True, out=out).parameters, each)
    for b in range(3):
        own = p.net.unroll(p.x[:, b : b + 1], run_state(p, b), None if lengths is None else lengths[b : b + 1])
        alone = own.backprop(g[:, b : b + 1], window=3).parameters
        same_bits({name: value[b] for name, value in each.items()}, alone)


def run_state(p, b):
    state = p.state
    return tuple(part[:, b : b + 1] for part in state) if isinstance(state, tuple) else state[:, b : b + 1]


def test_refusals():
    net = tt.Network("lstm", 2, 4, seed=0)
    run = net.unroll(np.ones((5, 3, 2)))
    g, whole = np.ones((5, 3, 4)), run.backprop(np.ones((5, 3, 4)))
    with pytest.raises(ValueError, match=r'There is no parameter "weight_hh_l1". Did you mean "weight_hh_l0"'):
        run.backprop(g, parameters=["weight_hh_l1"])
    with pytest.raises(TypeError, match="expected a list of names"):
        run.backprop(g, parameters="weight_hh_l0")
    with pytest.raises(TypeError, match=r"`input` is 1 .int.; expected True or False"):
        run.backprop(g, input=1)
    with pytest.raises(TypeError, match=r"`out` is an array of shape .*; expected a dict"):
        run.backprop(g, out=np.ones(3))
    with pytest.raises(ValueError, match="`out` has no array for weight_hh_l0"):
        run.backprop(g, out={"weight_ih_l0": np.empty((16, 2))})
    with pytest.raises(ValueError, match="There is no parameter"):
        run.backprop(g, out={"other": np.empty(3)}, parameters=[])
    one = {"parameters": ["bias_hh_l0"]}
    for wrong, words in (
        (np.empty(15), "has shape .15,. and dtype float64; expected .16,. of float64"),
        (np.empty(16, "f4"), "dtype float32; expected"),
        (np.empty(32)[::2], "does not lie in one piece"),
        (np.broadcast_to(np.zeros(()), (16,)), "read-only"),
    ):
        with pytest.raises(ValueError, match=words):
            run.backprop(g, out={"bias_hh_l0": wrong}, **one)
    with pytest.raises(TypeError, match="expected a NumPy array"):
        run.backprop(g, out={"bias_hh_l0": [0.0] * 16}, **one)
    before = net.parameters["weight_hh_l0"].copy()
    with pytest.raises(ValueError, match=r"`out\[.*\]` is the parameter itself, which the gradient would overwrite"):
        run.backprop(g, out=net.parameters)
    assert np.array_equal(net.parameters["weight_hh_l0"], before)
    other = tt.Network("lstm", 2, 4, seed=0).unroll(np.ones((6, 3, 2))).backprop(np.ones((6, 3, 4)))
    with pytest.raises(ValueError, match=r"`out.input` has shape .6, 3, 2."):
        run.backprop(g, out=other)
    with pytest.raises(ValueError, match="`clip_state` has no gradients per_sequence"):
        run.backprop(g, clip_state=1.0, per_sequence=True)
    family = tt.Ensemble([net, tt.Network("lstm", 2, 4, seed=1)]).unroll(np.ones((5, 3, 2)))
    assert family.backprop(g, input=False).results[1].input is None
    with pytest.raises(ValueError, match="`out` is of one network"):
        family.backprop(g, out=whole)
    np.testing.assert_array_equal(
        run.backprop(g, out=other, input=False, states=False).initial_state, whole.initial_state
    )
