"""What the weights are, and how they begin: each parametrisation by what makes it what it is."""

import numpy as np
import pytest
from ways import NAMES, OF_INPUT, P, every_way, network

import throughtime as tt
from throughtime.parametrise.form import Size

SIZES = (1, 2, 5, 16, 33)
EPS = np.finfo(float).eps


def blocks(net, name="weight_hh_l0"):
    return net.weights()[name].reshape(-1, net.hidden_size, net.hidden_size)


@pytest.mark.parametrize("cell", ["tanh", "gru"])
@pytest.mark.parametrize("units", SIZES)
def test_antisymmetric(units, cell):
    for w in blocks(network(P.antisymmetric(0.25), cell, units=units)):
        assert np.array_equal(w + w.T, -0.5 * np.eye(units))
        assert np.abs(np.linalg.eigvals(w).real + 0.25).max() <= 10 * units * EPS * np.linalg.norm(w, 2)


@pytest.mark.parametrize("units", SIZES)
def test_symmetric(units):
    w = blocks(network(P.symmetric(), units=units))[0]
    assert np.array_equal(w, w.T)
    assert w.any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", ["exp", "cayley"])
@pytest.mark.parametrize("units", SIZES)
def test_orthogonal(units, method, dtype):
    """‖WᵀW − 1‖ at the start, far from it, and of any determinant."""
    for negative in {0, 1, units}:
        net = network(P.orthogonal(method, negative=negative), "gru", units=units, dtype=dtype)
        for scale in (1.0, 30.0):
            net.parameters["weight_hh_l0.skew"][...] *= scale
            for w in blocks(net).astype(float):
                assert np.linalg.norm(w.T @ w - np.eye(units)) <= 20 * units * np.finfo(dtype).eps
                assert np.sign(np.linalg.det(w)) == (-1) ** negative


def skew(units, seed=0):
    a = np.random.default_rng(seed).normal(size=(units, units))
    return a - a.T


@pytest.mark.parametrize("units", SIZES)
def test_orthogonal_is_the_exponential_or_the_cayley_transform(units):
    from scipy.linalg import expm

    a, one, size = skew(units), np.eye(units), Size(1, units, units)
    free = {"skew": a[np.tril_indices(units, -1)]}
    ours = P.orthogonal().weight(size, free)[0][0]
    assert np.abs(ours - expm(a)).max() <= 100 * units * EPS
    ours = P.orthogonal("cayley").weight(size, free)[0][0]
    assert np.abs(ours - np.linalg.inv(one + a) @ (one - a)).max() <= 100 * units * EPS


@pytest.mark.parametrize("units", [2, 5, 16])
def test_the_way_back_is_the_adjoint_of_scipys_derivative(units):
    """⟨G, L(A, E)⟩ = ⟨L*(G), E⟩ with L by scipy.linalg.expm_frechet, also where eigenvalues of A meet."""
    from scipy.linalg import expm_frechet

    rng, size = np.random.default_rng(1), Size(1, units, units)
    lower = np.tril_indices(units, -1)
    for a in (
        skew(units),
        np.zeros((units, units)),
        np.kron(np.eye(units // 2 + 1), [[0, -1], [1, 0]])[:units, :units],
    ):
        e, g = skew(units, 2), rng.normal(size=(1, units, units))
        free = {"skew": a[lower]}
        way = P.orthogonal()
        kept = way.weight(size, free)[1]
        ours = way.pullback(free, kept, g)["skew"] @ e[lower]
        theirs = (g[0] * expm_frechet(a, e, compute_expm=False)).sum()
        assert abs(ours - theirs) <= 1e3 * units * EPS * np.linalg.norm(g) * np.linalg.norm(e)


@pytest.mark.parametrize("cell", ["tanh", "lstm"])
@pytest.mark.parametrize("units", [2, 5, 33])
def test_low_rank(units, cell):
    gates = 4 if cell == "lstm" else 1
    fixed = np.random.default_rng(0).normal(size=(units, units))
    net = network(P.low_rank(2), cell, units=units)
    assert net.parameters["weight_hh_l0.u"].shape == net.parameters["weight_hh_l0.v"].shape == (gates * units, 2)
    assert [np.linalg.matrix_rank(w) for w in blocks(net)] == [2] * gates
    with_fixed = network(P.low_rank(2, fixed=fixed), cell, units=units)
    assert [np.linalg.matrix_rank(w - fixed) for w in blocks(with_fixed)] == [2] * gates


def test_low_rank_begins_as_the_best_approximation():
    drawn = tt.Network("gru", 3, 16, seed=1).parameters["weight_hh_l0"].reshape(3, 16, 16)
    for w, whole in zip(blocks(network(P.low_rank(3), "gru", units=16)), drawn, strict=True):
        rest = np.linalg.svd(whole, compute_uv=False)[3:]
        assert np.isclose(np.linalg.norm(w - whole), np.linalg.norm(rest))


def test_diagonal():
    net = network(P.diagonal(), "gru", units=4, init="identity")
    assert np.array_equal(net.parameters["weight_hh_l0.diagonal"], np.ones(12))
    net.parameters["weight_hh_l0.diagonal"][...] = np.arange(12.0)
    assert np.array_equal(blocks(net), [np.diag(np.arange(4.0) + 4 * k) for k in range(3)])


@pytest.mark.parametrize("of", [P.masked, P.sparse])
@pytest.mark.parametrize("by_gate", [False, True])
def test_patterns(of, by_gate):
    """The drawn weights where the pattern is, and 0 elsewhere; of each gate its own or of all the same."""
    pattern = np.random.default_rng(0).random((15 if by_gate else 5, 5)) < 0.4
    drawn = tt.Network("gru", 3, 5, seed=1).parameters["weight_hh_l0"]
    whole = pattern if by_gate else np.tile(pattern, (3, 1))
    assert np.array_equal(network(of(pattern), "gru").weights()["weight_hh_l0"], np.where(whole, drawn, 0.0))


def test_a_sparse_matrix_of_scipy_is_a_pattern():
    from scipy.sparse import csr_array

    pattern = csr_array(np.random.default_rng(0).random((5, 5)) < 0.4)
    net = network(P.sparse(pattern.astype(float)))
    assert net.parameters["weight_hh_l0.values"].size == pattern.nnz
    there = csr_array((net.parameters["weight_hh_l0.values"], pattern.indices, pattern.indptr), shape=(5, 5))
    assert np.array_equal(there.toarray(), net.weights()["weight_hh_l0"]), "the values lie as in CSR"


def test_an_empty_pattern():
    net = network(P.sparse(np.zeros((5, 5))))
    assert net.parameters["weight_hh_l0.values"].shape == (0,)
    run = net.unroll(np.ones((4, 3)))
    assert run.backprop(np.ones((4, 5))).parameters["weight_hh_l0.values"].shape == (0,)
    assert not net.weights()["weight_hh_l0"].any()


def test_dale():
    signs, pattern = np.array([1, 1, 1, -1, -1]), 1 - np.eye(5)
    net = network(P.dale(signs, pattern=pattern), "gru")
    drawn = tt.Network("gru", 3, 5, seed=1).parameters["weight_hh_l0"].reshape(3, 5, 5)
    assert np.array_equal(blocks(net), np.abs(drawn) * signs * pattern)
    net.parameters["weight_hh_l0.full"] *= -1.0
    assert np.array_equal(blocks(net), np.abs(drawn) * signs * pattern)


@pytest.mark.parametrize("units", [1, 2, 5, 16])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_what_can_be_expressed_is_where_it_begins(cell, name, units):
    """Weights that a parametrisation makes are, drawn by an initialiser, those with which another begins."""
    way = every_way(units, 4 if cell == "lstm" else 1)[name]
    made = network(way, cell, units=units, seed=5, init=tt.init.gaussian(1.2)).weights()
    again = network(way, cell, units=units, init=lambda *_: made).weights()
    scale = 1e3 if "cayley" in name else 10.0  # conditioned by the rotation nearest to π
    assert np.abs(again["weight_hh_l0"] - made["weight_hh_l0"]).max() <= scale * units * EPS * 4


@pytest.mark.parametrize("units", [2, 3, 6, 7])
def test_rotations_that_turn_by_pi(units):
    """−1 is an eigenvalue twice: e^A makes it, and the Cayley transform with D; without D it says so."""
    w = np.eye(units)
    w[0, 0] = w[-1, -1] = -1.0
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(units, units)))[0]
    w = q @ w @ q.T
    begins = {"init": lambda net, rng: tt.init.uniform()(net, rng) | {"weight_hh_l0": w}, "units": units}
    assert np.abs(network(P.orthogonal(), **begins).weights()["weight_hh_l0"] - w).max() <= 100 * EPS
    with pytest.raises(ValueError, match="two eigenvalues −1"):
        network(P.orthogonal("cayley"), **begins)
    with_signs = network(P.orthogonal("cayley", negative=2), **begins).weights()["weight_hh_l0"]
    assert np.abs(with_signs - w).max() <= 1e4 * EPS


def test_orthogonal_begins_as_the_nearest_one():
    """Of all matrices of its determinant, tried at random and near by, none is nearer to what was drawn."""
    rng = np.random.default_rng(0)
    drawn = tt.Network("tanh", 3, 6, seed=1).parameters["weight_hh_l0"]
    for negative in (0, 1):
        w = network(P.orthogonal(negative=negative), units=6).weights()["weight_hh_l0"]
        least = np.linalg.norm(w - drawn)
        for scale in (1e-3, 0.1, 1.0, 3.0):
            for _ in range(20):
                a = np.triu(scale * rng.normal(size=(6, 6)), 1)
                turn = np.linalg.solve(np.eye(6) + a - a.T, np.eye(6) - a + a.T)
                assert np.linalg.norm(turn @ w - drawn) >= least


@pytest.mark.parametrize("name", OF_INPUT)
def test_weights_of_the_input(name):
    way = OF_INPUT[name](5, 3)
    net = tt.Network("gru", 3, 5, parametrise={"weight_ih_l0": way}, num_layers=2, seed=0)
    assert list(net.parametrise) == ["weight_ih_l0"]
    w = net.weights()["weight_ih_l0"]
    assert w.shape == (15, 3)
    if name == "low_rank":
        assert [np.linalg.matrix_rank(own) for own in w.reshape(3, 5, 3)] == [1, 1, 1]
    elif name == "dale":
        assert (w[:, [0, 2]] <= 0).all()
        assert (w[:, 1] >= 0).all()
    else:
        assert np.array_equal(w != 0, np.tile(way.pattern, (3, 1)))


def test_names_of_one_array_go_before_kinds():
    one, other = P.antisymmetric(), P.symmetric()
    net = tt.Network(
        "tanh", 3, 5, num_layers=2, bidirectional=True, parametrise={"weight_hh": one, "weight_hh_l1_reverse": other}
    )
    assert net.parametrise == {
        "weight_hh_l0": one, "weight_hh_l0_reverse": one, "weight_hh_l1": one, "weight_hh_l1_reverse": other,
    }  # fmt: skip
    names = [name for name in net.parameters if "." in name]
    assert names == [
        "weight_hh_l0.skew", "weight_hh_l0_reverse.skew", "weight_hh_l1.skew", "weight_hh_l1_reverse.lower",
    ]  # fmt: skip


def test_an_initialiser_may_return_the_free_parameters():
    m, n = np.random.default_rng(0).normal(size=(2, 5, 1))

    def own(net, rng):
        drawn = tt.init.uniform()(net, rng)
        del drawn["weight_hh_l0"]
        return drawn | {"weight_hh_l0.u": m, "weight_hh_l0.v": n}

    net = network(P.low_rank(1), init=own)
    assert np.array_equal(net.weights()["weight_hh_l0"], m @ n.T)
    with pytest.raises(ValueError, match=r"missing: weight_hh_l0\.v"):
        network(P.low_rank(1), init=lambda *args: {k: v for k, v in own(*args).items() if k != "weight_hh_l0.v"})


def test_weights_of_a_plain_network_are_its_parameters():
    net = tt.Network("gru", 3, 5)
    assert all(value is net.parameters[name] for name, value in net.weights().items())
    assert net.shapes == net.weight_shapes
    assert net.parametrise == {}


def test_weights_that_follow_cannot_be_written():
    net = network(P.antisymmetric())
    with pytest.raises(ValueError, match="read-only"):
        net.weights()["weight_hh_l0"][...] = 1.0


@pytest.mark.parametrize("name", NAMES)
def test_nan_and_infinity_come_out_as_nan(name):
    """A free parameter that is no number makes weights that are none; nothing raises."""
    for bad in (np.nan, np.inf):
        net = network(every_way(5)[name])
        part = next(key for key in net.parameters if key.startswith("weight_hh_l0."))
        net.parameters[part].flat[0] = bad
        w = net.weights()["weight_hh_l0"]
        if not (name.startswith(("masked", "dale_pattern")) and not way_has_first(net)):
            assert not np.isfinite(w).all()
        run = net.unroll(np.ones((4, 3)))
        assert run.backprop(np.ones((4, 5))).parameters[part].shape == net.parameters[part].shape


def way_has_first(net):
    return bool(net.parametrise["weight_hh_l0"].pattern[0, 0])


def test_equality_is_of_contents():
    ones = every_way(4)
    others = every_way(4)
    for name, way in ones.items():
        assert [key for key, other in others.items() if other == way] == [name]
        assert hash(way) == hash(others[name])
    assert P.low_rank(1) != P.low_rank(1, fixed=np.zeros((4, 4)))
    assert P.orthogonal() != "exp"


WRONG = {
    "no dict": (lambda: network_with(P.diagonal()), TypeError, "expected a dict from names of weights"),
    "no weights": (lambda: network_with({"weight": P.diagonal()}), ValueError, "weight_hh, weight_ih_l0"),
    "a bias": (lambda: network_with({"bias_hh_l0": P.diagonal()}), ValueError, "There is no array of weights"),
    "no name": (lambda: network_with({1: P.diagonal()}), TypeError, "The array of weights is 1"),
    "not called": (lambda: network_with({"weight_hh": P.diagonal}), TypeError, r"call it: tt\.parametrise\.diagonal"),
    "a name": (lambda: network_with({"weight_hh": "orthogonal"}), TypeError, r"tt\.parametrise\.orthogonal\(\)"),
    "not square": (lambda: network_with({"weight_ih": P.diagonal()}), ValueError, "5 rows and 3 columns"),
    "rank": (lambda: network_with({"weight_ih": P.low_rank(4)}), ValueError, "no higher rank than 3"),
    "rank 0": (lambda: P.low_rank(0), ValueError, "at least 1"),
    "fixed": (lambda: network_with({"weight_hh": P.low_rank(1, fixed=np.eye(4))}), ValueError, r"expected \(5, 5\)"),
    "fixed NaN": (lambda: P.low_rank(1, fixed=[[np.nan]]), ValueError, "finite"),
    "pattern": (lambda: network_with({"weight_hh": P.sparse(np.eye(3))}), ValueError, r"Of weight_hh_l0.*\(5, 5\)"),
    "pattern of 2": (lambda: P.masked([[0, 2]]), ValueError, "expected 0 and 1"),
    "pattern NaN": (lambda: P.masked([[0, np.nan]]), ValueError, "expected 0 and 1"),
    "pattern of text": (lambda: P.sparse("ring"), TypeError, "text"),
    "a vector": (lambda: P.masked([0, 1]), ValueError, "expected a matrix"),
    "signs": (lambda: network_with({"weight_hh": P.dale([1, -1])}), ValueError, "each of the 5 units"),
    "signs of 0": (lambda: P.dale([1, 0]), ValueError, "1 and −1"),
    "method": (lambda: P.orthogonal("expm"), ValueError, 'Did you mean "exp"'),
    "negative": (lambda: network_with({"weight_hh": P.orthogonal(negative=6)}), ValueError, "D has 5 entries"),
    "gamma": (lambda: P.antisymmetric(np.inf), ValueError, "finite"),
    "begins with NaN": (
        lambda: network(P.orthogonal(), init=lambda n, rng: {k: np.full(s, np.nan) for k, s in n.shapes.items()}),
        ValueError, "NaN",
    ),
    "gradients": (lambda: run_of(P.diagonal()).to_parameters(3), TypeError, "dict of arrays by the names of weights"),
    "of no weights": (lambda: run_of(P.diagonal()).to_parameters({"a": 1}), ValueError, "no array of weights"),
    "of another shape": (
        lambda: run_of(P.diagonal()).to_parameters({"weight_hh_l0": np.ones((5, 4))}), ValueError, r"weights, \(5, 5\)",
    ),
    "set": (lambda: setattr(network_with({}), "parametrise", {}), AttributeError, "make another"),
}  # fmt: skip


def run_of(way):
    return network(way).unroll(np.ones((2, 3)))


def network_with(parametrise):
    return tt.Network("tanh", 3, 5, parametrise=parametrise)


@pytest.mark.parametrize("case", WRONG)
def test_refusals(case):
    call, error, words = WRONG[case]
    with pytest.raises(error, match=words):
        call()
