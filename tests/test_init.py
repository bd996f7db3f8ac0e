"""Initialisers against their closed forms: bounds, moments (within 5 standard errors), orthogonality, Haar measure."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.init.draws import _orthogonal

N, I = 200, 50
BLOCKS = {"tanh": 1, "gru": 3, "lstm": 4}


def network(cell="lstm", **options):
    return tt.Network(cell, I, N, **{"seed": 3, **options})


def blocks(w):
    return w.reshape(-1, N, w.shape[-1])


def assert_moment(values, expected, variance):
    """mean(values) is `expected` within 5 standard errors, `variance` being that of one value."""
    assert abs(np.mean(values) - expected) < 5 * np.sqrt(variance / np.size(values))


def assert_gaussian(values, std):
    assert_moment(values, 0, std**2)
    assert_moment(values**2, std**2, 2 * std**4)
    assert_moment(values**4, 3 * std**4, 96 * std**8)  # a uniform distribution has 1.8 in place of 3


@pytest.mark.parametrize("cell", BLOCKS)
@pytest.mark.parametrize("init", ["uniform", tt.init.uniform(), None])
def test_uniform(cell, init):
    net = network(cell, num_layers=2, bidirectional=True, **({} if init is None else {"init": init}))
    bound = 1 / np.sqrt(N)
    for value in net.parameters.values():
        assert np.abs(value).max() <= bound
        assert_moment(value, 0, bound**2 / 3)
        assert_moment(value**2, bound**2 / 3, 4 / 45 * bound**4)


@pytest.mark.parametrize("cell", BLOCKS)
def test_gaussian(cell):
    net = network(cell, num_layers=2, init=tt.init.gaussian(2.5, input_gain=0.5, bias_std=0.3))
    for layer, inputs in ((0, I), (1, N)):
        w_ih, w_hh, b_ih, b_hh = net.layer(layer)
        assert len(blocks(w_hh)) == BLOCKS[cell]
        for block in blocks(w_hh):
            assert_gaussian(block, 2.5 / np.sqrt(N))
        assert_gaussian(w_ih, 0.5 / np.sqrt(inputs))
        assert_gaussian(b_ih + b_hh, 0.3)


def test_gaussian_has_unit_gain_and_no_bias_by_default():
    w_ih, w_hh, b_ih, b_hh = network("tanh", init="gaussian").layer(0)
    assert_gaussian(w_hh, 1 / np.sqrt(N))
    assert_gaussian(w_ih, 1 / np.sqrt(I))
    assert not b_ih.any()
    assert not b_hh.any()


@pytest.mark.parametrize("cell", BLOCKS)
@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_orthogonal(cell, gain):
    net = network(cell, init=tt.init.orthogonal(gain))
    w_hh = blocks(net.parameters["weight_hh_l0"])
    for w in w_hh:
        # A Householder QR is orthogonal to some multiple of eps that grows like sqrt(N).
        assert np.abs(w.T @ w - gain**2 * np.eye(N)).max() < 10 * np.sqrt(N) * np.finfo(float).eps * gain**2
    assert all(np.abs(a - b).max() > 0.1 for i, a in enumerate(w_hh) for b in w_hh[:i]), "each block has its own matrix"


def test_orthogonal_is_uniform_over_all_orthogonal_matrices():
    """Haar on O(5): E tr Q = 0, E (tr Q)² = 1, E (tr Q)⁴ = 3 (Diaconis & Shahshahani 1994), E det Q = 0.

    Without the sign fix LAPACK's Q has a trace of mean below −1.
    """
    rng, draws = np.random.default_rng(0), 4000
    q = np.array([_orthogonal(5, rng) for _ in range(draws)])
    trace = np.trace(q, axis1=1, axis2=2)
    assert_moment(trace, 0, 1)
    assert_moment(trace**2, 1, 2)
    assert_moment(np.linalg.det(q), 0, 1)


@pytest.mark.parametrize("cell", BLOCKS)
def test_identity(cell):
    for gain, init in ((1.0, "identity"), (0.5, tt.init.identity(0.5))):
        for w in blocks(network(cell, init=init).parameters["weight_hh_l0"]):
            np.testing.assert_array_equal(w, gain * np.eye(N))


def test_identity_with_relu_keeps_a_positive_state_for_ever():
    """The IRNN without input: h' = relu(h) = h."""
    net = tt.Network("relu", 1, 4, init="identity")
    h = np.array([[0.5, 1.0, 0.0, 2.0]])
    np.testing.assert_array_equal(net.unroll(np.zeros((50, 1)), state=h).final_state, h)


@pytest.mark.parametrize("base", ["uniform", "gaussian", tt.init.orthogonal(2.0)])
def test_forget_bias_sets_the_sum_and_nothing_else(base):
    options = {"num_layers": 2, "bidirectional": True}
    plain = network(init=base, **options).state_dict()
    net = network(init=tt.init.forget_bias(3.0, base), **options)
    forget = slice(N, 2 * N)
    for layer in range(2):
        for reverse in (False, True):
            _, _, b_ih, b_hh = net.layer(layer, reverse)
            np.testing.assert_array_equal(b_ih[forget], 3.0)
            np.testing.assert_array_equal(b_hh[forget], 0.0)
    for name, value in net.state_dict().items():
        changed = value != plain[name]
        if name.startswith("bias"):
            changed[forget] = False
        assert not changed.any(), name


def test_forget_bias_decays_the_cell_state_by_the_sigmoid_of_its_value():
    """Without input and recurrence c' = σ(value)·c, because g = tanh(0) = 0."""
    net = tt.Network("lstm", 1, 3, init=tt.init.forget_bias(1.5, tt.init.gaussian(0.0)))
    c = np.array([[0.3, -1.0, 2.0]])
    _, last = net.unroll(np.zeros((10, 1)), state=(np.zeros_like(c), c)).final_state
    np.testing.assert_allclose(last, c / (1 + np.exp(-1.5)) ** 10, rtol=1e-14)


def test_forget_bias_is_for_cells_that_forget_and_have_biases():
    with pytest.raises(ValueError, match=r"forget_bias.*of Tanh\(\) none is known.*forgets="):
        network("tanh", init=tt.init.forget_bias(1.0))
    with pytest.raises(ValueError, match=r"sets biases.*bias=False"):
        network(bias=False, init=tt.init.forget_bias(1.0))
    with pytest.raises(ValueError, match=r'"gausian"\. Did you mean "gaussian"'):
        tt.init.forget_bias(1.0, "gausian")


@pytest.mark.parametrize("cell", BLOCKS)
def test_irnn(cell):
    net = network(cell, num_layers=2, init=tt.init.irnn(0.5, input_std=0.02))
    for layer in range(2):
        w_ih, w_hh, b_ih, b_hh = net.layer(layer)
        for block in blocks(w_hh):
            np.testing.assert_array_equal(block, 0.5 * np.eye(N))
        assert_gaussian(w_ih, 0.02)
        assert not b_ih.any()
        assert not b_hh.any()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("base", ["uniform", tt.init.spectral_radius(0.9)])
def test_chrono_sets_the_gates_that_keep_and_nothing_else(cell, base):
    """exp(b) is uniform on (1, T − 1); of the LSTM b_i = −b_f, and all else is what `base` alone draws."""
    options, longest = {"num_layers": 2, "bidirectional": True, "init": tt.init.chrono(50.0, base)}, 50.0
    plain = network(cell, **{**options, "init": base}).state_dict()
    net = network(cell, **options)
    kept = []
    for layer in range(2):
        for reverse in (False, True):
            _, _, b_ih, b_hh = net.layer(layer, reverse)
            kept.append(b_ih[N : 2 * N])
            assert not b_hh[N : 2 * N].any()
            if cell == "lstm":
                np.testing.assert_array_equal(b_ih[:N], -kept[-1])
                assert not b_hh[:N].any()
    scale = np.exp(kept)
    assert scale.min() >= 1
    assert scale.max() <= longest - 1
    assert_moment(scale, longest / 2, (longest - 2) ** 2 / 12)
    assert_moment((scale - longest / 2) ** 2, (longest - 2) ** 2 / 12, (longest - 2) ** 4 / 180)
    assert not np.array_equal(kept[0], kept[1]), "each layer and direction draws its own"
    for name, value in net.state_dict().items():
        changed = value != plain[name]
        if name.startswith("bias"):
            changed[N if cell == "gru" else 0 : 2 * N] = False
        assert not changed.any(), name


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_chrono_keeps_what_its_time_constant_says(cell):
    """Without input and recurrence a step keeps u/(1 + u) of the state: of the LSTM c, of the GRU h, as n = tanh 0."""
    net = tt.Network(cell, 1, 4, init=tt.init.chrono(30, tt.init.gaussian(0.0)), seed=0)
    u = np.exp(net.parameters["bias_ih_l0"][4:8])
    start = np.array([[0.3, -1.0, 2.0, 0.7]])
    state = (np.zeros_like(start), start) if cell == "lstm" else start
    last = net.unroll(np.zeros((10, 1)), state=state).final_state
    np.testing.assert_allclose(last[1] if cell == "lstm" else last, start * (u / (1 + u)) ** 10, rtol=1e-13)


@pytest.mark.parametrize("cell", BLOCKS)
@pytest.mark.parametrize("base", ["gaussian", "orthogonal", tt.init.sparse(15)])
def test_spectral_radius(cell, base):
    options = {"num_layers": 2, "bidirectional": True}
    plain = network(cell, init=base, **options).state_dict()
    for name, value in network(cell, init=tt.init.spectral_radius(0.8, base), **options).state_dict().items():
        if not name.startswith("weight_hh"):
            np.testing.assert_array_equal(value, plain[name])
            continue
        for block, before in zip(blocks(value), blocks(plain[name]), strict=True):
            # eigenvalues of random matrices are conditioned well: a factor scales them to some hundred eps
            assert np.abs(np.linalg.eigvals(block)).max() == pytest.approx(0.8, rel=1e-12)
            np.testing.assert_allclose(block / block.std(), before / before.std(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", BLOCKS)
@pytest.mark.parametrize(("options", "kept"), [({"incoming": 15}, 15), ({"density": 0.25}, 50), ({"incoming": N}, N)])
def test_sparse_keeps_as_many_in_every_row(cell, options, kept):
    shape = {"num_layers": 2, "bidirectional": True}
    plain = network(cell, init="gaussian", **shape).state_dict()
    for name, value in network(cell, init=tt.init.sparse(**options), **shape).state_dict().items():
        if name.startswith("weight_hh"):
            assert ((value != 0).sum(axis=1) == kept).all()
            np.testing.assert_array_equal(value[value != 0], plain[name][value != 0])
            if kept < N:  # the columns too are chosen evenly: binomial, each within 6 standard deviations
                heard = (blocks(value) != 0).sum(axis=1)
                assert (np.abs(heard - kept) < 6 * np.sqrt(kept * (1 - kept / N))).all()
        else:
            np.testing.assert_array_equal(value, plain[name])


def test_initialisers_compose():
    """The smart tanh of Pascanu et al. in an LSTM with chrono biases: each sets its own part."""
    base = tt.init.spectral_radius(0.95, tt.init.sparse(15, tt.init.gaussian(0.1, input_gain=0.0)))
    net = network("lstm", init=tt.init.chrono(100, base))
    for block in blocks(net.parameters["weight_hh_l0"]):
        assert ((block != 0).sum(axis=1) == 15).all()
        assert np.abs(np.linalg.eigvals(block)).max() == pytest.approx(0.95, rel=1e-12)
    assert not net.parameters["weight_ih_l0"].any()
    assert (net.parameters["bias_ih_l0"][N : 2 * N] >= 0).all()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: network("tanh", init=tt.init.chrono(9)), ValueError, r"chrono.*of Tanh\(\) none is known"),
        (lambda: network("gru", bias=False, init=tt.init.chrono(9)), ValueError, "chrono.*sets biases.*bias=False"),
        (lambda: tt.init.chrono(1.5), ValueError, "`longest` is 1.5; expected a finite number of at least 2"),
        (lambda: network(init=tt.init.chrono), TypeError, r"`init` is the function chrono; call it"),
        (lambda: network(init=tt.init.sparse(N + 1)), ValueError, f"`incoming` .* is {N + 1}, .* at most hidden_size"),
        (lambda: tt.init.sparse(), TypeError, "`incoming`.* or `density`"),
        (lambda: tt.init.sparse(3, density=0.5), TypeError, "one of both"),
        (lambda: tt.init.sparse(density=1.5), ValueError, "`density` is 1.5; .* at most 1"),
        (
            lambda: network(init=tt.init.spectral_radius(0.9, tt.init.gaussian(0.0))),
            ValueError, "weight_hh_l0 .* has the spectral radius 0",
        ),
        (lambda: tt.init.spectral_radius(-1), ValueError, "`radius` is -1; .* at least 0"),
        (lambda: tt.init.spectral_radius(1, tt.init.sparse), TypeError, r"`base` is the function sparse; call it"),
        (lambda: network(init=tt.init.sparse(2, lambda net, rng: {})), ValueError, "What `base` returned does not fit"),
    ],
)  # fmt: skip
def test_what_these_initialisers_refuse(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    "init",
    [
        *(name for name in tt.init.named.NAMED if name != "published"),  # of which an LSTM has none
        tt.init.forget_bias(1.0),
        tt.init.chrono(20),
        tt.init.spectral_radius(0.9),
        tt.init.sparse(3),
    ],
)
def test_a_seed_fixes_the_values_in_either_precision(init):
    one, again, single, other = (
        tt.Network("lstm", 3, 8, init=init, seed=seed, dtype=dtype)
        for seed, dtype in ((5, "float64"), (5, "float64"), (5, "float32"), (6, "float64"))
    )
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, again.parameters[name])
        np.testing.assert_array_equal(value.astype("float32"), single.parameters[name])
    assert not np.array_equal(one.parameters["weight_ih_l0"], other.parameters["weight_ih_l0"])


def test_a_generator_is_drawn_from():
    rng = np.random.default_rng(5)
    first, second = (tt.Network("tanh", 3, 8, seed=rng).parameters["weight_hh_l0"] for _ in range(2))
    np.testing.assert_array_equal(first, tt.Network("tanh", 3, 8, seed=5).parameters["weight_hh_l0"])
    assert not np.array_equal(first, second)


def test_without_a_seed_every_network_is_another():
    a, b = (tt.Network("tanh", 3, 8).parameters["weight_hh_l0"] for _ in range(2))
    assert not np.array_equal(a, b)


def test_ones_own_initialiser():
    net = tt.Network("gru", 3, 8, init=lambda net, rng: {k: np.full(s, 0.25) for k, s in net.shapes.items()})
    assert all((value == 0.25).all() for value in net.parameters.values())


def test_ones_own_initialiser_is_checked():
    with pytest.raises(ValueError, match=r"What `init` returned does not fit.*missing: weight_hh_l0, bias_ih_l0"):
        tt.Network("tanh", 3, 8, init=lambda net, rng: {"weight_ih_l0": np.zeros((8, 3))})


@pytest.mark.parametrize(
    ("init", "error", "words"),
    [
        ("ortogonal", ValueError, 'no initialiser "ortogonal". Did you mean "orthogonal"'),
        (tt.init.gaussian, TypeError, r"`init` is the function gaussian; call it: throughtime.init.gaussian\("),
        (3, TypeError, r"`init` is 3 \(int\); expected a name \(uniform"),
        (np.zeros(3), TypeError, "`init` is .*; expected a name"),
    ],
)
def test_what_is_no_initialiser(init, error, words):
    with pytest.raises(error, match=words):
        tt.Network("tanh", 3, 8, init=init)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tt.init.gaussian("2"), r"`gain` is '2' \(str\); expected a real number"),
        (lambda: tt.init.orthogonal(np.nan), "`gain` is nan; expected a finite number"),
        (lambda: tt.init.identity(1, bias_std=-1), "`bias_std` is -1; expected a finite number of at least 0"),
        (lambda: tt.init.forget_bias(None), "`value` is None"),
    ],
)
def test_arguments_of_initialisers_are_checked(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()
