"""tt.check_cell: it passes what is right, finds each kind of mistake and names it; and what `@tt.cell` refuses.

A wrong cell is a right one with one line changed, so that the mistake is all that a test is about.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells.base import spec
from throughtime.scalar import relu, relu_slope, sigmoid, sigmoid_slope, tanh, tanh_slope


class Mixing(NamedTuple):
    """Two gates and two states that all matter to each other: z = sigma(x0 + r0), v = tanh(x1 + r1 + a)."""

    pull: float = 0.3

    def forward(cell, x, r, s):
        gate, drive = x[0] + r[0], x[1] + r[1] + s[1]
        z, v = sigmoid(gate), tanh(drive)
        return (s[0] + z * (v - s[0]), s[1] + cell.pull * (v - s[1] * s[1])), (gate, drive)

    def backward(cell, ds, s, s_next, saved):
        gate, drive = saved
        z = sigmoid(gate)
        dgate = ds[0] * (tanh(drive) - s[0]) * sigmoid_slope(gate)
        ddrive = (ds[0] * z + ds[1] * cell.pull) * tanh_slope(drive)
        d = (dgate, ddrive)
        return d, d, (ds[0] * (1.0 - z), ds[1] * (1.0 - 2.0 * cell.pull * s[1]) + ddrive)

    def emit(cell, s):
        return tanh(s[0]) * (1.0 + s[1])

    def emit_slope(cell, s):
        return tanh_slope(s[0]) * (1.0 + s[1]), tanh(s[0])


def changed(**functions):
    """Mixing with other functions, registered."""
    body = {name: vars(Mixing)[name] for name in ("forward", "backward", "emit", "emit_slope")}
    made = NamedTuple("Changed", [("pull", float)])  # noqa: UP014 - a class without functions, which come next
    for name, value in (body | functions).items():
        setattr(made, name, value)
    made._field_defaults["pull"] = 0.3
    return tt.cell(gates=2, states=2)(made)(0.3)


def wrong_backward(change):
    """Mixing whose `backward` returns change(dx, dr, ds_prev)."""

    def backward(cell, ds, s, s_next, saved):
        return change(*Mixing.backward(cell, ds, s, s_next, saved))

    return changed(backward=backward)


@pytest.mark.parametrize("name", tt.CELLS)
def test_every_cell_of_the_library_is_right(name):
    said = tt.check_cell(tt.CELLS[name]())
    record = spec(tt.CELLS[name])
    assert said.startswith(f"{record.name} is right: {record.gates} gate")
    assert f"{record.saved} saved" in said


@pytest.mark.parametrize("seed", range(5))
def test_what_is_right_passes_at_any_points(seed):
    assert "2 gates, 2 states, 2 saved" in tt.check_cell(changed(), seed=seed)


# Each mistake at each place: what is changed, and what the sentence has to name.
FACTORS = {"twice": 2.0, "half": 0.5, "sign": -1.0, "missing": 0.0, "a little": 1.001}


@pytest.mark.parametrize("factor", FACTORS.values(), ids=FACTORS.keys())
@pytest.mark.parametrize("gate", [0, 1])
@pytest.mark.parametrize("part", ["x", "r"])
def test_a_wrong_gradient_of_a_gate_is_named(part, gate, factor):
    def change(dx, dr, ds_prev):
        spoilt = tuple(value * factor if g == gate else value for g, value in enumerate(dx))
        return (spoilt, dr, ds_prev) if part == "x" else (dx, spoilt, ds_prev)

    with pytest.raises(ValueError, match=rf"Changed\.backward.* with respect to {part}\[{gate}\]"):
        tt.check_cell(wrong_backward(change))


@pytest.mark.parametrize("factor", FACTORS.values(), ids=FACTORS.keys())
@pytest.mark.parametrize("state", [0, 1])
def test_a_wrong_gradient_of_a_state_is_named(state, factor):
    def change(dx, dr, ds_prev):
        return dx, dr, tuple(value * factor if j == state else value for j, value in enumerate(ds_prev))

    with pytest.raises(ValueError, match=rf"Changed\.backward.* with respect to s\[{state}\]"):
        tt.check_cell(wrong_backward(change))


def test_a_missing_term_in_ds_prev_is_found():
    def backward(cell, ds, s, s_next, saved):
        d, _, (first, second) = Mixing.backward(cell, ds, s, s_next, saved)
        return d, d, (first, second - d[1])  # the way of s[1] through the drive is forgotten

    with pytest.raises(ValueError, match=r"with respect to s\[1\]"):
        tt.check_cell(changed(backward=backward))


def test_the_sentence_says_what_it_should_be():
    with pytest.raises(ValueError) as caught:
        tt.check_cell(wrong_backward(lambda dx, dr, ds_prev: ((2 * dx[0], dx[1]), dr, ds_prev)))
    words = str(caught.value)
    should, be = (float(words.split(phrase)[1].split()[0].rstrip(".,")) for phrase in ("should be ", "it is "))
    assert be == pytest.approx(2 * should, rel=1e-3)


def test_swapped_states_and_gates_are_found():
    with pytest.raises(ValueError, match=r"x\[0\]"):
        tt.check_cell(wrong_backward(lambda dx, dr, ds_prev: (dx[::-1], dr, ds_prev)))
    with pytest.raises(ValueError, match=r"s\[0\]"):
        tt.check_cell(wrong_backward(lambda dx, dr, ds_prev: (dx, dr, ds_prev[::-1])))


def test_a_backward_that_is_not_linear_is_found():
    """Right for the unit cotangents, wrong for all others."""

    def squares(cell, ds, s, s_next, saved):
        return Mixing.backward(cell, tuple(value * value for value in ds), s, s_next, saved)

    with pytest.raises(ValueError, match="not linear"):
        tt.check_cell(changed(backward=squares))

    def mixed(cell, ds, s, s_next, saved):  # a term that is 0 as long as only one of the cotangents is not
        d, _, (first, second) = Mixing.backward(cell, ds, s, s_next, saved)
        return d, d, (first + ds[0] * ds[1], second)

    with pytest.raises(ValueError, match=r"not linear.* s\[0\]"):
        tt.check_cell(changed(backward=mixed))


def test_a_constant_term_is_found():
    with pytest.raises(ValueError, match=r"x\[0\]"):
        tt.check_cell(wrong_backward(lambda dx, dr, ds_prev: ((dx[0] + 1e-3, dx[1]), dr, ds_prev)))


@pytest.mark.parametrize("state", [0, 1])
def test_a_wrong_emit_slope_is_named(state):
    def emit_slope(cell, s):
        return tuple(2.0 * value if j == state else value for j, value in enumerate(Mixing.emit_slope(cell, s)))

    with pytest.raises(ValueError, match=rf"Changed\.emit_slope.* with respect to s\[{state}\]"):
        tt.check_cell(changed(emit_slope=emit_slope))


def test_an_integer_literal_is_found():
    """In compiled code `1 - z` turns float32 into float64."""

    def backward(cell, ds, s, s_next, saved):
        gate, drive = saved
        z = sigmoid(gate)
        ddrive = (ds[0] * z + ds[1] * cell.pull) * tanh_slope(drive)
        d = (ds[0] * (tanh(drive) - s[0]) * sigmoid_slope(gate), ddrive)
        return d, d, (ds[0] * (1 - z), ds[1] * (1.0 - 2.0 * cell.pull * s[1]) + ddrive)

    with pytest.raises(ValueError, match=r"Changed\.backward computes with an integer literal.*write 1\.0 for 1"):
        tt.check_cell(changed(backward=backward))


def test_an_integer_literal_in_emit_is_found():
    with pytest.raises(ValueError, match=r"emit.* integer literal"):
        tt.check_cell(changed(emit=lambda cell, s: tanh(s[0]) * (1 + s[1])))


def test_nan_is_named():
    def forward(cell, x, r, s):
        s_next, saved = Mixing.forward(cell, x, r, s)
        return (s_next[0] + np.log(x[0] - 10.0), s_next[1]), saved

    with pytest.raises(ValueError, match=r"NaN"):
        tt.check_cell(changed(forward=forward))


def branching(slope):
    """A cell that branches, in its step and in what it sends; its slope on the left is right for 0.5."""

    @tt.cell()
    class Branching(NamedTuple):
        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (u if u > 0.0 else 0.5 * u,), (u,)

        def backward(cell, ds, s, s_next, saved):
            d = (ds[0] if saved[0] > 0.0 else slope * ds[0],)
            return d, d, (0.0,)

        def emit(cell, s):
            return s[0] if s[0] < 1.0 else 2.0 * s[0] - 1.0

        def emit_slope(cell, s):
            return (1.0 if s[0] < 1.0 else 2.0,)

    return Branching()


def test_a_cell_that_branches_is_checked_unit_by_unit():
    """An `if` on scalars is what compiled code takes and an array does not: NumPy's sentence about it helps nobody."""
    assert "is right" in tt.check_cell(branching(0.5))
    with pytest.raises(ValueError, match=r"with respect to x\[0\] should be 0\.5"):
        tt.check_cell(branching(0.4))
    population = tt.analysis.mean_field.population(branching(0.5), 0.5, noise=1.0, units=200, steps=30)
    assert 0.0 < population.chi < 1.0


def test_a_cell_with_a_kink_passes():
    @tt.cell()
    class Kinked(NamedTuple):
        """h' = max(u, 0) - 0.2 max(-u, 0)"""

        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (relu(u) - 0.2 * relu(-u),), (u,)

        def backward(cell, ds, s, s_next, saved):
            du = (ds[0] * (relu_slope(saved[0]) + 0.2 * relu_slope(-saved[0])),)
            return du, du, (0.0,)

    for seed in range(20):
        assert "is right" in tt.check_cell(Kinked(), seed=seed)

    @tt.cell()
    class Bent(NamedTuple):
        """The same with a slope that is wrong on one side of the kink."""

        def forward(cell, x, r, s):
            return Kinked.forward(cell, x, r, s)

        def backward(cell, ds, s, s_next, saved):
            du = (ds[0] * (relu_slope(saved[0]) + 0.3 * relu_slope(-saved[0])),)
            return du, du, (0.0,)

    for seed in range(20):
        with pytest.raises(ValueError, match=r"with respect to x\[0\]"):
            tt.check_cell(Bent(), seed=seed)


def test_what_is_no_cell():
    for thing in (3, "lstm", object()):
        with pytest.raises(TypeError, match="not a cell"):
            tt.check_cell(thing)


# ---- what the decorator refuses ------------------------------------------------------------------


def test_the_decorator_needs_its_parentheses():
    with pytest.raises(TypeError, match=r"without parentheses.*@tt\.cell\(\)"):

        @tt.cell
        class Bare(NamedTuple):
            pass


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", None])
@pytest.mark.parametrize("label", ["gates", "states"])
def test_counts_are_positive_integers(label, count):
    with pytest.raises(TypeError, match=f"`{label}` is {count!r}"):
        tt.cell(**{label: count})


def test_a_cell_is_a_namedtuple():
    class Plain:
        def forward(cell, x, r, s):
            return (x[0],), ()

        def backward(cell, ds, s, s_next, saved):
            return ds, ds, ds

    with pytest.raises(TypeError, match=r"`Plain` must be a NamedTuple class: write `class Plain\(NamedTuple\):`"):
        tt.cell()(Plain)


def made(**functions):
    cls = NamedTuple("Made", [])  # noqa: UP014 - likewise
    for name, value in functions.items():
        setattr(cls, name, value)
    return cls


def forward(cell, x, r, s):
    return (x[0] + r[0],), ()


def backward(cell, ds, s, s_next, saved):
    return ds, ds, (0.0,)


@pytest.mark.parametrize("missing", ["forward", "backward"])
def test_both_functions_are_needed(missing):
    functions = {"forward": forward, "backward": backward}
    del functions[missing]
    with pytest.raises(TypeError, match=f"`Made` has no `{missing}`"):
        tt.cell()(made(**functions))


@pytest.mark.parametrize("only", ["emit", "emit_slope"])
def test_what_it_sends_and_its_slope_belong_together(only):
    with pytest.raises(TypeError, match="only one of `emit` and `emit_slope`"):
        tt.cell()(made(forward=forward, backward=backward, **{only: lambda cell, s: s[0]}))


WRONG_SIZES = {
    "s_next is a number": (lambda cell, x, r, s: (x[0], ()), backward, "forward"),
    "two states of one": (lambda cell, x, r, s: ((x[0], x[0]), ()), backward, "forward"),
    "no saved": (lambda cell, x, r, s: (x[0],), backward, "forward"),
    "saved is a number": (lambda cell, x, r, s: ((x[0],), x[0]), backward, "forward"),
    "dx is a number": (forward, lambda cell, ds, s, s_next, saved: (ds[0], ds, ds), "backward"),
    "two gates of one": (forward, lambda cell, ds, s, s_next, saved: (ds + ds, ds, ds), "backward"),
    "dr is missing": (forward, lambda cell, ds, s, s_next, saved: (ds, ds), "backward"),
    "ds_prev is empty": (forward, lambda cell, ds, s, s_next, saved: (ds, ds, ()), "backward"),
}


@pytest.mark.parametrize(("go", "back", "named"), WRONG_SIZES.values(), ids=WRONG_SIZES.keys())
def test_wrong_sizes_are_refused_at_registration(go, back, named):
    with pytest.raises(TypeError, match=rf"`Made\.{named}` must return .*written `\(u,\)`"):
        tt.cell()(made(forward=go, backward=back))


def test_emit_slope_has_one_number_for_each_state():
    send = {"emit": lambda cell, s: s[0], "emit_slope": lambda cell, s: 1.0}
    with pytest.raises(TypeError, match=r"`Made\.emit_slope` must return one slope for each state"):
        tt.cell()(made(forward=forward, backward=backward, **send))


@pytest.mark.parametrize("value", ["fast", None, True, (1.0,), 1j])
def test_fields_are_numbers(value):
    class Named(NamedTuple):
        speed: float = value

        def forward(cell, x, r, s):
            return (x[0] + r[0],), ()

        def backward(cell, ds, s, s_next, saved):
            return ds, ds, (0.0,)

    with pytest.raises(TypeError, match=r"The field `speed` of `Named` is .*real numbers"):
        tt.cell()(Named)


# ---- twenty lines of a user's, usable everywhere -------------------------------------------------


@tt.cell(gates=2)
class Minimal(NamedTuple):
    """The minimal gated unit without its inner gate: h' = h + rate z (tanh(u) - h), z = sigma(g)."""

    rate: float = 1.0

    def forward(cell, x, r, s):
        g, u = x[0] + r[0], x[1] + r[1]
        return (s[0] + cell.rate * sigmoid(g) * (tanh(u) - s[0]),), (g, u)

    def backward(cell, ds, s, s_next, saved):
        g, u = saved
        z = cell.rate * sigmoid(g)
        d = (cell.rate * sigmoid_slope(g) * (tanh(u) - s[0]) * ds[0], z * tanh_slope(u) * ds[0])
        return d, d, ((1.0 - z) * ds[0],)


def test_a_users_cell_is_at_most_25_lines():
    import inspect

    assert len(inspect.getsource(Minimal).splitlines()) <= 25


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_users_cell_is_usable_everywhere(dtype, tmp_path):
    assert "is right" in tt.check_cell(Minimal(0.7))
    net = tt.Network(Minimal(0.7), 3, 6, num_layers=2, dtype=dtype, seed=0)
    x = np.random.default_rng(0).normal(size=(12, 2, 3)).astype(dtype)
    run = net.unroll(x)
    # one step of layer 0 in plain Python
    w_ih, w_hh, b_ih, b_hh = (net.parameters[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    parts = np.split(x[0] @ w_ih.T + b_ih, 2, axis=1), np.split(np.zeros((2, 6)) @ w_hh.T + b_hh, 2, axis=1)
    expected = Minimal(0.7).forward(*(tuple(part) for part in parts), (np.zeros((2, 6)),))[0][0]
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(run.states[1, :, :6], expected, rtol=tolerance, atol=tolerance)

    last = np.zeros_like(run.output)
    last[-1] = 1
    grads = run.backprop(last)
    assert grads.parameters["weight_hh_l1"].shape == (12, 6)
    product = np.ones((2, 12), dtype)
    for t in range(12, 0, -1):  # backwards in time: u <- J^T u, which is what backprop did
        if t == 12:
            product = grads.states[12]
        np.testing.assert_allclose(grads.states[t], product, rtol=20 * tolerance, atol=20 * tolerance)
        product = np.einsum("bij,bi->bj", run.jacobian(t), product)
    decay = tt.analysis.gradient_norms(run, last)
    assert decay.log_norm.shape == (13, 2)
    if dtype == "float64":
        spectrum = tt.analysis.lyapunov_spectrum(net, steps=60, warmup=20, seed=0)
        assert spectrum.exponents.shape == (12,)
        assert np.all(np.diff(spectrum.exponents) <= 0)
        assert np.all(spectrum.sum_rule_residual < 1e-8)
    net.save(tmp_path / "minimal.npz")
    again = tt.load(tmp_path / "minimal.npz")
    np.testing.assert_array_equal(again.unroll(x).states, run.states)
