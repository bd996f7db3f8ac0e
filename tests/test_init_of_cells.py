"""Initialisers and what a cell says of itself: its gates by name, which of them forgets, the numbers of its units, and
how it was published."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import spec
from throughtime.cells.on_arrays import unit_derivatives
from throughtime.cells.wiring import wiring

N, I = 30, 7
EVERY = {
    "uniform": "uniform", "gaussian": tt.init.gaussian(1.3, bias_std=0.2), "orthogonal": "orthogonal",
    "identity": "identity", "irnn": "irnn", "sparse": tt.init.sparse(3), "radius": tt.init.spectral_radius(0.9),
    "forget": tt.init.forget_bias(2.0), "chrono": tt.init.chrono(40), "published": "published",
}  # fmt: skip


@tt.cell(
    gates=("f", "n"), states=2, sends={"y": ("f", "n"), "z": ("n",)}, stage={"reset": ("n", "q")},
    parameters=("tau", "peep"), forgets={"f": -1},
)  # fmt: skip
class Whole(NamedTuple):
    """All that a cell can say: two signals, a stage, numbers of the units. r: f, n of the state, n, q of the stage."""

    mean: float = 2.0

    def stage(cell, x, r, s, p):
        return (s[0] * p[0],)

    def stage_backward(cell, da, s, saved, p):
        return (0.0, 0.0), (0.0, 0.0), (da[0] * p[0], 0.0), (da[0] * s[0], 0.0)

    def forward(cell, x, r, s, p):
        return (x[0] + r[0] + p[1] * s[1], x[1] + r[1] + r[2] + r[3]), ()

    def backward(cell, ds, s, s_next, saved, p):
        return ds, (ds[0], ds[1], ds[1], ds[1]), (0.0, p[1] * ds[0]), (0.0, s[1] * ds[0])

    def initial(cell, units, rng):
        return cell.mean + rng.standard_normal(units), 0.25

    def published(cell, network, rng, values):
        assert network.hidden_size == N
        assert network.shapes == {kind: value.shape for kind, value in values.items()}
        values["weight_ih"][...] = rng.standard_normal((2 * N, network.input_size))
        values["peep"] = np.full(N, 0.75)


@tt.cell(gates=("z", "n"), sends={}, forgets={"z": -1})
class Alone(NamedTuple):
    """It hears no other unit."""

    def forward(cell, x, r, s):
        return (s[0] + x[0] * (x[1] - s[0]),), (x[0], x[1])

    def backward(cell, ds, s, s_next, saved):
        d = ds[0]
        return (d * (saved[1] - s[0]), d * saved[0]), (), (d * (1.0 - saved[0]),)


@tt.cell(parameters=("a", "b"))
class Drawn(NamedTuple):
    """Its own numbers start as by default."""

    def forward(cell, x, r, s, p):
        return (x[0] + r[0] + p[0] + p[1],), ()

    def backward(cell, ds, s, s_next, saved, p):
        return ds, ds, (0.0,), (ds[0], ds[0])


def network(cell, init, **options):
    return tt.Network(cell, I, N, init=init, **{"seed": 3, **options})


@pytest.mark.parametrize("name", EVERY)
def test_units_start_as_their_cell_says_with_every_initialiser(name):
    net = network(Whole(), EVERY[name], num_layers=2, bidirectional=True)
    seen = []
    for end in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        seen.append(net.parameters["tau" + end])
        assert abs(seen[-1].mean() - 2.0) < 5 / np.sqrt(N)
        assert abs(seen[-1].std() - 1.0) < 5 / np.sqrt(2 * N)
        np.testing.assert_array_equal(net.parameters["peep" + end], 0.75 if name == "published" else 0.25)
    assert not any(np.array_equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
    for end in ("_l0", "_l1_reverse"):
        assert net.parameters["weight_hh" + end].shape == (5 * N, N)
        assert net.parameters["bias_hh" + end].shape == (4 * N,)


@pytest.mark.parametrize("init", ["uniform", "gaussian", "identity"])
def test_without_a_word_they_are_uniform(init):
    net = network(Drawn(), init, num_layers=20)
    for name in "ab":
        values = np.concatenate([net.parameters[f"{name}_l{k}"] for k in range(20)])
        bound = 1 / np.sqrt(N)
        assert abs(values).max() <= bound
        assert abs((values**2).mean() - bound**2 / 3) < 5 * np.sqrt(4 / 45 * bound**4 / len(values))


def test_plain_cells_draw_what_they_drew():
    """The parameters of units come last in a layer: the numbers before them are those of the same cell without."""

    @tt.cell()
    class Same(NamedTuple):
        def forward(cell, x, r, s):
            return (x[0] + r[0],), ()

        def backward(cell, ds, s, s_next, saved):
            return ds, ds, (0.0,)

    for init in ("uniform", "gaussian", "orthogonal"):
        ours, theirs = network(Drawn(), init).parameters, network(Same(), init).parameters
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (2.0, (2.0, 2.0, 2.0)),
        ((1.0, 0.5, 2.0), (1.0, 0.5, 2.0)),
        ([3, 0.0, 1], (3.0, 0.0, 1.0)),
        (np.array([1.0, 0.5, 2.0]), (1.0, 0.5, 2.0)),
        ({"n": 2.0}, (1.0, 1.0, 2.0)),
        ({"z": -1.5, "r": 0.0}, (0.0, -1.5, 1.0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [tt.init.gaussian, tt.init.orthogonal, tt.init.identity, tt.init.irnn])
def test_gains_gate_by_gate(make, gain, expected):
    """Each block is its gain times what it is at gain 1: the draws are the same."""
    ones = network("gru", make(1.0), num_layers=2, bidirectional=True).parameters
    for name, value in network("gru", make(gain), num_layers=2, bidirectional=True).parameters.items():
        factor = np.repeat(expected, N)[:, None] if name.startswith("weight_hh") else 1.0
        np.testing.assert_allclose(value, factor * ones[name], rtol=1e-15)


def test_gains_of_the_input_and_spreads_of_biases_gate_by_gate():
    ones = network("lstm", tt.init.gaussian(bias_std=1.0)).parameters
    found = network("lstm", tt.init.gaussian(input_gain={"f": 0.0}, bias_std=(0.0, 0.5, 1.0, 2.0))).parameters
    by_gate = np.repeat([1.0, 0.0, 1.0, 1.0], N)[:, None]
    np.testing.assert_array_equal(found["weight_ih_l0"], by_gate * ones["weight_ih_l0"])
    np.testing.assert_array_equal(found["weight_hh_l0"], ones["weight_hh_l0"])
    np.testing.assert_array_equal(found["bias_ih_l0"], np.repeat([0.0, 0.5, 1.0, 2.0], N) * ones["bias_ih_l0"])
    named = network("lstm", tt.init.gaussian(bias_std={"f": 0.5})).parameters["bias_ih_l0"]
    np.testing.assert_array_equal(named, np.repeat([0.0, 0.5, 0.0, 0.0], N) * ones["bias_ih_l0"])


def test_gains_of_the_parts_that_signals_feed():
    """Blocks of W_hh: y feeds f and n, z feeds n, the stage n and q; by name both n are meant."""
    ones = network(Whole(), "gaussian").parameters["weight_hh_l0"]
    for gain, expected in (((1.0, 2.0, 3.0, 4.0), (1, 2, 2, 3, 4)), ({"n": 2.0, "q": 0.5}, (1, 2, 2, 2, 0.5))):
        found = network(Whole(), tt.init.gaussian(gain)).parameters["weight_hh_l0"]
        np.testing.assert_array_equal(found, np.repeat(expected, N)[:, None] * ones)


def test_the_usual_sign_of_a_forget_gate_and_the_other():
    plain = network("gru", "gaussian").parameters
    found = network("gru", tt.init.forget_bias(3.0, "gaussian")).parameters
    np.testing.assert_array_equal(found["bias_ih_l0"], np.repeat([0.0, 3.0, 0.0], N))
    np.testing.assert_array_equal(found["weight_hh_l0"], plain["weight_hh_l0"])
    values = np.linspace(-1, 4, N)
    base = network(Whole(), "uniform").parameters
    found = network(Whole(), tt.init.forget_bias(values)).parameters
    np.testing.assert_array_equal(found["bias_ih_l0"][:N], -values)
    np.testing.assert_array_equal(found["bias_ih_l0"][N:], base["bias_ih_l0"][N:])
    assert not found["bias_hh_l0"][:N].any()
    np.testing.assert_array_equal(found["bias_hh_l0"][N:], base["bias_hh_l0"][N:])
    alone = network(Alone(), tt.init.forget_bias(1.5)).parameters
    np.testing.assert_array_equal(alone["bias_ih_l0"][:N], -1.5)


@pytest.mark.parametrize("name", [name for name, cls in tt.CELLS.items() if spec(cls).forgets])
def test_the_gate_that_a_cell_names_keeps_a_state(name):
    """With forget_bias(value) and nothing else at the gates, a step keeps the more of a state the larger the value: of
    an LSTM's c and a GRU's h the part σ(value); where gates are divided by their sum another, from nothing to most."""
    cell = tt.CELLS[name]()
    record, found = spec(cell), []
    for value in (-20.0, -2.0, 0.5, 20.0):
        init = tt.init.forget_bias(value, tt.init.gaussian(0.0, input_gain=0.0))
        parameters = tt.Network(cell, 1, 1, init=init, seed=0).parameters
        bias, recurrent = parameters["bias_ih_l0"], parameters.get("bias_hh_l0", np.zeros(0))
        s = tuple(np.full(1, own) for own in (0.3, -0.7, 0.9, 0.2)[: record.states])
        r = tuple(recurrent[:, None])
        own = tuple(np.zeros(1) for _ in record.parameters)
        s_next, saved = cell.forward(tuple(bias[:, None]), r, s, *((own,) if own else ()))
        rows = unit_derivatives(cell, s, s_next, saved, own)
        found.append(max(float(np.broadcast_to(row[2][j], 1)[0]) for j, row in enumerate(rows)))
        if name in ("lstm", "gru", "ugrnn", "cho_gru", "minimal_rnn"):
            assert found[-1] == pytest.approx(1 / (1 + np.exp(-value)), rel=1e-12)
    assert found == sorted(found)
    assert found[0] < 1e-6
    assert found[-1] > 0.6


@pytest.mark.parametrize("cell", [Whole(), Alone()], ids=["Whole", "Alone"])
def test_chrono_has_the_sign_of_the_gate(cell):
    found = network(cell, tt.init.chrono(40.0), num_layers=30).parameters
    u = np.exp(-np.concatenate([found[f"bias_ih_l{k}"][:N] for k in range(30)]))
    assert u.min() >= 1
    assert u.max() <= 39
    assert abs(u.mean() - 20) < 5 * 38 / np.sqrt(12 * len(u))


def test_a_cell_that_hears_no_other_unit():
    for init in ("uniform", tt.init.gaussian(2.0), "orthogonal", "irnn"):
        assert list(network(Alone(), init).parameters) == ["weight_ih_l0", "bias_ih_l0"]
    for init, name in ((tt.init.spectral_radius(0.9), "spectral_radius"), (tt.init.sparse(3), "sparse")):
        with pytest.raises(ValueError, match=rf"init={name}\(…\) is about W_hh, and Alone\(\) has none"):
            network(Alone(), init)
    with pytest.raises(ValueError, match=r"names 'n'; Alone\(\) has none"):
        network(Alone(), tt.init.gaussian({"n": 2.0}))


def test_of_layers_of_unlike_cells_each_gets_what_it_names():
    cells, sizes = ["gru", Whole(), "tanh", Alone()], [4, N, 6, 5]
    plain = tt.Network(cells, I, sizes, init="gaussian", seed=3).parameters
    found = tt.Network(cells, I, sizes, init=tt.init.gaussian({"n": 2.0}), seed=3).parameters
    for name, value in found.items():
        factor = {"weight_hh_l0": np.repeat([1, 1, 2], 4), "weight_hh_l1": np.repeat([1, 2, 2, 2, 1], N)}.get(name)
        np.testing.assert_array_equal(value, plain[name] if factor is None else factor[:, None] * plain[name])
    found = tt.Network(cells, I, sizes, init=tt.init.forget_bias(2.0, "gaussian"), seed=3).parameters
    np.testing.assert_array_equal(found["bias_ih_l0"], np.repeat([0, 2, 0], 4))
    np.testing.assert_array_equal(found["bias_ih_l1"], np.repeat([-2, 0], N))
    np.testing.assert_array_equal(found["bias_ih_l3"], np.repeat([-2, 0], 5))
    assert not found["bias_ih_l2"].any()
    found = tt.Network(cells, I, sizes, init=tt.init.published("gaussian"), seed=3).parameters
    changed = [name for name, value in found.items() if not np.array_equal(value, plain[name])]
    assert changed == ["weight_ih_l1", "peep_l1"]
    with pytest.raises(ValueError, match=r"GRU\(\) and Whole.* and Tanh\(\) and Alone\(\) has r, z, n, f, q, 0\."):
        tt.Network(cells, I, sizes, init=tt.init.gaussian((1.0, 2.0)))


def test_published():
    base = network(Whole(), "gaussian", num_layers=2, bidirectional=True).parameters
    found = network(Whole(), tt.init.published("gaussian"), num_layers=2, bidirectional=True).parameters
    for name, value in found.items():
        if not name.startswith(("weight_ih", "peep")):
            np.testing.assert_array_equal(value, base[name])
    first, second = (found[f"weight_ih_l0{way}"] for way in ("", "_reverse"))
    assert not np.array_equal(first, second)
    single = network(Whole(), "published", dtype="float32").parameters["weight_ih_l0"]
    np.testing.assert_array_equal(single, network(Whole(), "published").parameters["weight_ih_l0"].astype("float32"))
    with pytest.raises(ValueError, match=r"published\(…\) takes a cell's own .* GRU\(\) has none.*uniform"):
        network("gru", "published")


def a_cell(**functions):
    def forward(cell, x, r, s, p):
        return (x[0] + r[0] + p[0],), ()

    def backward(cell, ds, s, s_next, saved, p):
        return ds, ds, (0.0,), ds

    class Made(NamedTuple):
        pass

    for name, function in {"forward": forward, "backward": backward, **functions}.items():
        setattr(Made, name, function)
    return tt.cell(parameters=("tau",))(Made)()


def starts(value):
    return {"initial": lambda cell, units, rng: value}


def publishes(change):
    return {"published": lambda cell, network, rng, values: change(values)}


@pytest.mark.parametrize(
    ("functions", "init", "error", "words"),
    [
        (starts(1.0), "uniform", TypeError, r"`Made.initial.* returned 1.0 \(float\); expected 1 arrays \(30,\)"),
        (starts((1.0, 2.0)), "gaussian", TypeError, "returned tuple of 2; expected 1 arrays"),
        (starts((np.ones(3),)), "uniform", ValueError, r"for tau an array of shape \(3,\)"),
        (starts((np.nan,)), "uniform", ValueError, "for tau numbers that are not finite"),
        (starts(("a",)), "uniform", TypeError, "`tau`"),
        (publishes(lambda values: values), "published", TypeError, "it changes `values`"),
        (
            publishes(lambda values: values.clear()),
            "published",
            ValueError,
            "left in `values` nothing; expected",
        ),
        (publishes(lambda values: values.update(tau=1.0)), "published", ValueError, r"tau \(\); .* tau \(30,\)"),
    ],
)
def test_what_a_cell_says_wrongly(functions, init, error, words):
    with pytest.raises(error, match=words):
        network(a_cell(**functions), init)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: network("gru", tt.init.gaussian((1, 2))), ValueError, r"`gain` has 2 .* GRU\(\) has r, z, n"),
        (lambda: network("gru", tt.init.orthogonal({"q": 2.0})), ValueError, r"names 'q'; GRU\(\) has r, z, n"),
        (lambda: network("tanh", tt.init.gaussian(input_gain=(1, 2))), ValueError, r"`input_gain` has 2 numbers"),
        (lambda: tt.init.gaussian({}), TypeError, r"`gain` is \{\} \(dict\); by gates it is a dict of their names"),
        (lambda: tt.init.identity({1: 2.0}), TypeError, "by gates it is a dict of their names"),
        (lambda: tt.init.irnn([]), ValueError, "`gain` is empty"),
        (lambda: tt.init.gaussian((1.0, "2")), TypeError, r"`gain\[1\]` is '2' \(str\); expected a real number"),
        (lambda: tt.init.gaussian(bias_std={"n": -1.0}), ValueError, r"`bias_std\['n'\]` is -1; .* at least 0"),
        (lambda: tt.init.published("gausian"), ValueError, 'Did you mean "gaussian"'),
    ],
)  # fmt: skip
def test_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("forgets", "expected"),
    [
        (None, ()),
        ("f", (("f", 1.0),)),
        (1, (("f", 1.0),)),
        ({"f": -1}, (("f", -1.0),)),
        ({"f": 1, 0: -1}, (("f", 1.0), ("i", -1.0))),
    ],
    ids=str,
)
def test_how_a_cell_says_which_gate_forgets(forgets, expected):
    assert wiring(("i", "f"), 1, None, None, (), forgets).forgets == expected


@pytest.mark.parametrize(
    ("forgets", "error", "words"),
    [
        ("q", ValueError, "`forgets` names 'q'; the gates are i, f"),
        (7, TypeError, r"`forgets` names a gate by 7 \(int\)"),
        (True, TypeError, "`forgets` names a gate by True"),
        (["f"], TypeError, r"`forgets` is \['f'\] \(list\); expected the gate"),
        ({}, TypeError, "`forgets` is {}"),
        ({"f": 2}, ValueError, r"`forgets\['f'\]` is 2 \(int\); expected 1 .* -1"),
        ({"f": True}, ValueError, "is True"),
        ({0: 1, "i": -1}, ValueError, "names a gate twice"),
    ],
    ids=str,
)
def test_what_says_no_gate(forgets, error, words):
    with pytest.raises(error, match=words):
        wiring(("i", "f"), 1, None, None, (), forgets)


def test_a_gate_that_no_input_reaches_is_a_part_of_r():
    assert wiring(("z",), 1, {"h": ("u",)}, {"z": ("u",)}, (), "u").forgets == (("u", 1.0),)
    found, base = (network("minimal_rnn", init).parameters for init in (tt.init.forget_bias(3.0), "uniform"))
    np.testing.assert_array_equal(found["bias_hh_l0"], np.repeat([3.0, 0.0], N))
    np.testing.assert_array_equal(found["bias_ih_l0"], base["bias_ih_l0"])
