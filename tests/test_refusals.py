"""What has no meaning is refused in words, by every public analysis: bidirectional networks, NaN, arguments out of
range. The rule for NaN is in refuse/finite.py; tests/analyses.py lists the analyses.
"""

from inspect import isfunction, signature

import numpy as np
import pytest
from analyses import OF_NETWORK, OF_RUN, B, N, T, X, apply, network, total

import throughtime as tt

analysis = tt.analysis
ONES = np.ones((T, B, N))

OF_MATRICES = {
    "product_from_jacobians": analysis.product_from_jacobians,
    "covariant_from_jacobians": analysis.covariant_from_jacobians,
    "lyapunov_from_jacobians": analysis.lyapunov_from_jacobians,
}
OF_NUMBERS = {"clip_by_norm", "clip_by_value", "kaplan_yorke_dimension"}  # of gradients and exponents: below

# An entry for each sequence: one with NaN is NaN, the others are what they are without it.
EACH_SEQUENCE = {
    "lyapunov_spectrum": "exponents",
    "perturbed_twin": "exponent",
    "covariant_vectors": "exponents",
    "product_singular_values": "log_singular_values",
    "gradient_norms": "log_norm",
    "gradient_products": "log_norm",
    "jacobian_spectrum": "singular_values",
}
for _name in {*OF_NETWORK, *OF_RUN} - {*EACH_SEQUENCE}:  # a result that says which of its fields tell sequences apart
    _fields = getattr(signature(getattr(analysis, _name)).return_annotation, "along_batch", {})
    EACH_SEQUENCE |= {_name: next(iter(_fields))} if _fields else {}
# An entry for each time as well: NaN stays in its place even where no sequence is without.
EACH_TIME = {"gradient_norms", "gradient_products", "jacobian_spectrum"}


def broken(name, net, x):
    """Where NaN meets no sequence without: refused, or in its place."""
    if name in EACH_TIME:
        assert np.isnan(getattr(apply(name, net, x), EACH_SEQUENCE[name])).any()
    else:
        with pytest.raises(ValueError, match=r"(?i)nan|inf") as caught:
            apply(name, net, x)
        return str(caught.value)
    return ""


def test_every_public_analysis_is_tested_here():
    public = {name for name in analysis.__all__ if isfunction(getattr(analysis, name))}
    assert public == {*OF_NETWORK, *OF_RUN, *OF_MATRICES, *OF_NUMBERS}


@pytest.mark.parametrize("name", [*OF_NETWORK, *OF_RUN])
def test_bidirectional_networks(name):
    net = network(bidirectional=True)
    if name == "loss_surface":  # the gradient of the weights has a meaning there too
        assert np.isfinite(apply(name, net, X).gradient).all()
        return
    if name == "clipping_effect":  # likewise, by norm and by value
        assert np.isfinite(apply(name, net, X).cosine[:2]).all()
        return
    with pytest.raises(ValueError, match="bidirectional"):
        apply(name, net, X)


@pytest.mark.parametrize("name", [*OF_NETWORK, *OF_RUN])
def test_nan_in_a_parameter(name):
    net = network()
    net.parameters["weight_hh_l0"][2, 1] = np.nan
    words = broken(name, net, X)
    assert "weight_hh_l0" in words or name in EACH_TIME or "run.states[1]" in words


@pytest.mark.parametrize("name", [*OF_NETWORK, *OF_RUN])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_in_one_sequence(name, bad):
    net, x = network(), X.copy()
    x[20, 1, 0] = bad
    if np.isinf(bad):
        net.parameters["weight_ih_l0"][:, 1] = 0.0
        x[20, 1, 1] = -np.inf  # 0 · inf: NaN in the state, and not only a saturated unit
    if name == "pascanu_bound":  # of the weights alone
        assert np.isfinite(apply(name, net, x).rate)
    elif name == "loss_surface":  # a loss that reads the sequence says so itself
        assert np.isnan(apply(name, net, x).loss).all()
    elif name in EACH_SEQUENCE:
        found, clean = (getattr(apply(name, net, series), EACH_SEQUENCE[name]) for series in (x, X))
        axis = clean.shape.index(B)
        assert np.isnan(found.take(1, axis)).any()
        np.testing.assert_array_equal(found.take([0, 2], axis), clean.take([0, 2], axis))
    else:
        words = broken(name, net, x)
        assert name == "fixed_points" or "sequence 1" in words
        assert name == "fixed_points" or "20" in words or "21" in words


@pytest.mark.parametrize("name", [*OF_NETWORK, *OF_RUN])
def test_nan_in_every_sequence(name):
    x = X.copy()
    x[20, :, 1] = np.nan
    if name != "pascanu_bound":
        broken(name, network(), x)


def test_growth_beyond_the_numbers_says_so():
    net = tt.Network("linear", 1, 2, bias=False, dtype="float32", seed=0)
    net.parameters["weight_hh_l0"][...] = 10.0 * np.eye(2)
    run = net.unroll(np.zeros((60, 1)), state=np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"states\[39\] of sequence 0 holds inf.*grew beyond the numbers of float32"):
        analysis.product_singular_values(run, 0, 60)
    assert analysis.product_singular_values(run, 0, 38).log_singular_values[0] == pytest.approx(38 * np.log(10), 1e-6)
    net = tt.Network("relu", 1, 2, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = 1e10 * np.eye(2)
    with pytest.raises(ValueError, match="grew beyond"):
        analysis.covariant_vectors(net, steps=60, warmup=0, state=np.ones((1, 2)))


def test_nan_in_the_initial_state():
    state = np.zeros((1, B, N))
    state[0, :, 2] = np.nan
    for name in ("perturbed_twin", "lyapunov_spectrum", "covariant_vectors"):
        with pytest.raises(ValueError, match="initial state of sequence 0 holds nan"):
            getattr(analysis, name)(network(), X, warmup=0, state=state)
    with pytest.raises(ValueError, match="initial state of sequence 0 holds nan"):
        analysis.product_singular_values(network().unroll(X, state=state), 0, 5)


@pytest.mark.parametrize("name", OF_MATRICES)
def test_nan_in_a_matrix(name):
    matrices = np.tile(np.eye(2), (40, 1, 1))
    matrices[7, 0, 1] = np.nan
    with pytest.raises(ValueError, match=r"jacobians\[7\]` holds nan at \[0, 1\]"):
        OF_MATRICES[name](matrices)
    with pytest.raises(ValueError, match="square"):
        OF_MATRICES[name](np.zeros((4, 2, 3)))


def test_nan_in_gradients_and_exponents():
    gradients = {"weight": np.array([1.0, np.nan, 3.0])}
    with pytest.raises(ValueError, match="weight is not finite"):
        analysis.clip_by_norm(gradients, 1.0)
    analysis.clip_by_value(gradients, 2.0)
    np.testing.assert_array_equal(gradients["weight"], [1.0, np.nan, 2.0])
    assert np.isnan(analysis.kaplan_yorke_dimension([0.1, np.nan]))


RANGES = [
    ("lyapunov_spectrum", {"k": N + 1}, "k=5"),
    ("lyapunov_spectrum", {"k": 0}, "k=0"),
    ("lyapunov_spectrum", {"steps": T}, "steps="),
    ("lyapunov_spectrum", {"discard": T}, "discard="),
    ("covariant_vectors", {"k": N + 1}, "k=5"),
    ("covariant_vectors", {"steps": T + 1}, "steps="),
    ("covariant_vectors", {"transient": 15}, "transient=15"),
    ("covariant_vectors", {"times": [T]}, "times="),
    ("perturbed_twin", {"interval": T}, "`interval` is"),
    ("perturbed_twin", {"distance": 0.0}, "distance="),
    ("fixed_points", {"x": X[0, 0], "period": 0}, "period"),
    ("fixed_points", {"x": X}, "single vector"),
    ("pascanu_bound", {"x": None, "input_bound": -1.0}, "input_bound"),
    ("gradient_products", {"stop": T + 1}, "`stop` is 31"),
    ("gradient_products", {"max_lag": T + 1}, "`max_lag` is 31"),
    ("gradient_by_lag", {"grad_output": ONES, "max_lag": T}, "`max_lag` is 30"),
    ("gradient_norms", {"grad_output": ONES[1:]}, "shape"),
    ("gradient_norms", {"grad_output": ONES, "factor": 1.0}, "factor=1"),
    ("jacobian_spectrum", {"t": 0}, "t=0"),
    ("jacobian_spectrum", {"t": [3, T + 1]}, "t=31"),
    ("product_singular_values", {"start": 0, "stop": T + 1}, "`stop` is 31"),
    ("product_singular_values", {"start": 5, "stop": 4}, "start ≤ stop"),
    ("product_singular_values", {"start": 0, "stop": 4, "k": N + 1}, "`k` is 5"),
    ("truncation_bias", {"grad_output": ONES, "windows": [0]}, "`windows` holds 0"),
    ("truncation_bias", {"grad_output": ONES, "windows": [T + 1]}, "`windows` holds 31"),
    ("truncation_bias", {"grad_output": ONES, "windows": [2], "every": 3}, "`windows` holds 2"),
    ("clip_per_step", {"grad_output": ONES, "max_norm": 0.0}, "`max_norm` is 0"),
    ("clipping_effect", {"grad_output": ONES, "thresholds": [-1.0]}, "`thresholds` is -1"),
    ("non_normality", {"t": T + 1}, "`t` is 31"),
    ("non_normality", {}, "t="),
    ("transient_growth", {"steps": -1, "t": 1}, "`steps` is -1"),
    ("pseudospectrum", {"t": 1, "sequence": B}, "`sequence` is 3"),
    ("pseudospectrum", {"t": 1, "points": 0}, "`points` is 0"),
    ("kreiss_constant", {"t": 1, "angles": 0}, "`angles` is 0"),
    ("loss_surface", {"loss": total, "first": ("nothing", 0), "second": ("bias_hh_l0", 0)}, "'nothing'"),
    ("loss_surface", {"loss": total, "first": ("bias_hh_l0", N), "second": ("bias_hh_l0", 0)}, "entry 4"),
]


@pytest.mark.parametrize(("name", "options", "words"), RANGES, ids=[f"{n}-{w}" for n, _, w in RANGES])
def test_arguments_out_of_range(name, options, words):
    function, options = getattr(analysis, name), dict(options)
    if name == "loss_surface":
        options |= {"first_values": [0.0], "second_values": [0.0]}
    first = network().unroll(X) if name in OF_RUN else network()
    if name in OF_NETWORK:
        options = {"x": X} | options
    given = {key: value for key, value in options.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        function(first, **given)
