"""What people write who come from PyTorch or Keras, attributes that cannot be set, and fields without a meaning."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import throughtime as tt

T, B, I, N = 6, 3, 4, 5
X = np.random.default_rng(0).normal(size=(T, B, I))


def network(cell="gru", **options):
    return tt.Network(cell, I, N, seed=0, **options)


# ------------------------------------------------------------------------------------- attributes that cannot be set


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("weight_hh_l0", r'write `net.parameters\["weight_hh_l0"\]\[...\] = '),
        ("hidden_size", r"make another, `tt.Network\(…, hidden_size=…\)`"),
        ("dtype", r"make another, `tt.Network\(…, dtype=…\)`"),
        ("cell", "make another"),
        ("state_size", "follows from the arguments"),
        ("shapes", "follows from the arguments"),
        ("paramters", "perhaps you mean `parameters`"),
        ("batchfirst", "perhaps you mean `batch_first`"),
        ("training", "behaves the same in training and in evaluation"),
        ("unroll", "cannot be set"),
        ("anything", "no attribute `anything` to set"),
    ],
)
def test_attributes_of_a_network(name, words):
    net = network()
    before = copy.deepcopy(vars(net))
    with pytest.raises(AttributeError, match=words):
        setattr(net, name, 1)
    assert vars(net).keys() == before.keys()
    with pytest.raises(AttributeError):
        delattr(net, name)


@pytest.mark.parametrize("name", ["output", "states", "lengths", "input", "network", "final_state", "otuput", "grad"])
def test_attributes_of_a_run(name):
    run = network().unroll(X)
    with pytest.raises(AttributeError, match=name):
        setattr(run, name, 1)


def test_what_can_be_set():
    net = network()
    net.parameters = {name: value + 1.0 for name, value in net.parameters.items()}
    net.parameters["bias_hh_l0"] = np.zeros(3 * N)
    assert not net.layer(0)[3].any()
    net.unroll = lambda x: "as a test replaces it"
    assert net.unroll(X).startswith("as a test")


class Named(tt.Network):
    def __init__(self, *args, **options):
        self.early = 1
        super().__init__(*args, **options)
        self.label = "mine"


def test_subclasses_have_attributes_of_their_own():
    net = Named("gru", I, N, seed=0)
    net.label = "another"
    assert (net.early, net.label) == (1, "another")
    for name in ("hidden_size", "weight_hh_l0", "state_size"):
        with pytest.raises(AttributeError):
            setattr(net, name, 1)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_whole(make):
    for net in (network("lstm", num_layers=2), Named("gru", I, N, seed=0)):
        run, other = net.unroll(X), make(net)
        np.testing.assert_array_equal(other.unroll(X).output, run.output)
        np.testing.assert_array_equal(make(run).final_state, run.final_state)
        with pytest.raises(AttributeError, match="make another"):
            other.hidden_size = 3


# ------------------------------------------------------------------------------------- names of other libraries


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forward", r"net.unroll\(x\)"), ("train", "behaves the same"), ("eval", "behaves the same"),
        ("backward", r"run.backprop\(grad_output\)"), ("cuda", r'net.to\("cuda"\)'), ("weight_hh_l0", "net.parameters"),
        ("h0", "state=h"), ("hidden_sise", "perhaps you mean `hidden_size`"), ("units", "net.hidden_size"),
    ],
)  # fmt: skip
def test_attributes_that_a_network_does_not_have(name, words):
    assert not hasattr(network(), name)
    with pytest.raises(AttributeError, match=words):
        getattr(network(), name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("backward", r"run.backprop\("),
        ("h_n", "run.final_state"),
        ("outputs", "run.output"),
        ("jacobain", "`jacobian`"),
    ],
)
def test_attributes_that_a_run_does_not_have(name, words):
    run = network().unroll(X)
    assert not hasattr(run, name)
    with pytest.raises(AttributeError, match=words):
        getattr(run, name)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net: net(X), r"not called as a function; write `run = net.unroll\(x\)`"),
        (lambda net: net.unroll(X, h0=1), "no argument `h0`; the initial state is `state=`"),
        (lambda net: net.unroll(X, hx=1), "no argument `hx`; the initial state is `state=`"),
        (lambda net: net.unroll(X, batch_first=True), r"it belongs to the network: `tt.Network\(…, batch_first="),
        (lambda net: net.unroll(), "needs `x`"),
        (lambda net: net.unroll(X, x=X), "`x` twice"),
        (lambda net: net.unroll(X, None, None, None), "given 4 arguments by place, and takes 3"),
        (lambda net: tt.Network("gru", I, N, 2), "the others by name: num_layers="),
        (lambda net: tt.Network("gru", I, N, dropout=0.1), "it is a piece: `tt.models.Chain"),
        (lambda net: tt.Network("gru", I, units=N), "it is `hidden_size=` here"),
        (lambda net: tt.Network("gru", I, N, bidirectoinal=True), "perhaps you mean `bidirectional`"),
        (lambda net: net.unroll(X, device="cuda"), r'it belongs to the network: `tt.Network\(…, device="cuda"\)`'),
        (lambda net: net.unroll(X).backprop(grad=1), "it is `grad_output=` here"),
        (lambda net: tt.init.gaussian(gian=1.0), "perhaps you mean `gain`"),
        (lambda net: tt.load(), "needs `path`"),
        (lambda net: net.to("cpu", 1), "takes 1"),
    ],
)  # fmt: skip
def test_calls_of_other_libraries(call, words):
    with pytest.raises(TypeError, match=words):
        call(network())


def test_an_error_from_inside_is_not_mistaken_for_a_wrong_call():
    def init(network, rng):
        raise TypeError("from inside")

    with pytest.raises(TypeError, match=r"^from inside$"):
        tt.Network("gru", I, N, init=init)


def test_devices_and_dtypes_of_torch(torch):
    net = network()
    for device in ("cuda:0", torch.device("cuda:1")):
        with pytest.raises(ValueError, match=r'write "cuda".*CUDA_VISIBLE_DEVICES'):
            net.to(device)
    with pytest.raises(TypeError, match='write "cpu"'):
        net.to(torch.device("cpu"))
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        with pytest.raises(ValueError, match=f'Write `dtype="{name}"`'):
            network(dtype=dtype)
    with pytest.raises(ValueError, match='"float32" or "float64"'):
        network(dtype=torch.bfloat16)


# ------------------------------------------------------------------------------------- fields and values


@pytest.mark.parametrize("cell", [tt.LeakyTanh, tt.Rate])
def test_a_leak_without_a_meaning(cell):
    for leak in (0.0, -0.1, 2.5, 2):
        with pytest.raises(ValueError, match=r"`leak` of the cell is .*more than 0 and less than 2"):
            network(cell(leak=leak))
    for leak in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="leak"):
            network(cell(leak=leak))
    assert network(cell(leak=1)).cell.leak == 1
    with pytest.raises(ValueError, match="leak"):
        tt.analysis.mean_field.population(cell(leak=2.0))


def test_a_forget_bias_for_each_unit():
    net = network("lstm", init=tt.init.forget_bias(np.arange(N)))
    np.testing.assert_array_equal(net.parameters["bias_ih_l0"][N : 2 * N], np.arange(N))
    one = network("lstm", init=tt.init.forget_bias(np.full(N, 2.0)))
    np.testing.assert_array_equal(
        one.parameters["bias_ih_l0"], network("lstm", init=tt.init.forget_bias(2)).parameters["bias_ih_l0"]
    )
    with pytest.raises(ValueError, match=r"shape \(3,\); expected one number, or one for each of the 5 units"):
        network("lstm", init=tt.init.forget_bias([1, 2, 3]))
    for wrong, error in ((np.eye(2), ValueError), ([1, np.nan], ValueError), ("x", TypeError), (None, TypeError)):
        with pytest.raises(error, match="value"):
            tt.init.forget_bias(wrong)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_state_of_a_run_is_a_state(cell, layers):
    net = network(cell, num_layers=layers)
    whole, first = net.unroll(X), net.unroll(X[:4], lengths=[4, 4, 4])
    for state in (first.states[-1], whole.states[4], whole.states[4].tolist() if cell == "gru" else first.states[4]):
        np.testing.assert_array_equal(net.unroll(X[4:], state).states, whole.states[4:])
    one = net.unroll(X[:, 0])
    for state in (one.states[4], one.states[4, 0], net.unroll(X[:4, 0]).final_state):
        np.testing.assert_array_equal(net.unroll(X[4:, 0], state).states, one.states[4:])
    with pytest.raises(ValueError, match=r"`state` has shape"):
        net.unroll(X, whole.states[-1, :2])
    with pytest.raises(ValueError, match=r"`state` has shape .*expected"):
        net.unroll(X, whole.states[-1, 0])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_state_of_a_run_is_a_state_for_analyses(cell):
    net = network(cell, num_layers=2)
    x, run = np.random.default_rng(1).normal(size=(60, B, I)), network(cell, num_layers=2).unroll(X)
    for name in ("lyapunov_spectrum", "covariant_vectors"):
        analyse = getattr(tt.analysis, name)
        a, b = (analyse(net, x, state=state, k=2, seed=0, warmup=5) for state in (run.states[-1], run.final_state))
        np.testing.assert_array_equal(a.exponents, b.exponents)
    one = net.unroll(X[:, 0])
    a, b = (
        tt.analysis.lyapunov_spectrum(net, x[:, 0], state=state, k=1, seed=0, warmup=5)
        for state in (one.states[-1], one.final_state)
    )
    np.testing.assert_array_equal(a.exponents, b.exponents)
    twins = [tt.analysis.perturbed_twin(net, x, state=state, seed=0) for state in (run.states[-1], run.final_state)]
    np.testing.assert_array_equal(twins[0].exponent, twins[1].exponent)


def test_a_state_of_a_bidirectional_run_is_none():
    net = network(bidirectional=True)
    run = net.unroll(X)
    with pytest.raises(ValueError, match=r"pass `run.final_state`"):
        net.unroll(X, run.states[-1])
    net.unroll(X, run.final_state)


@pytest.mark.parametrize("name", ["backend", "save", "axes", "points", "networks", "weight_hh_l0", "state", "x"])
def test_attributes_of_an_ensemble_and_its_run(name):
    family = tt.Ensemble([network(), network()])
    for thing in (family, family.unroll(X)):
        with pytest.raises(AttributeError, match=name):
            setattr(thing, name, 1)
    assert not hasattr(family, "weight_hh_l0")


def test_fields_of_the_results_of_an_ensemble():
    found = tt.analysis.lyapunov_spectrum(tt.Ensemble([network(), network()]), X, k=1, seed=0)
    with pytest.raises(AttributeError, match=r'write result\["exponents"\] for that of all'):
        found.exponents  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        found.nothing  # noqa: B018


@pytest.mark.parametrize("analysis", [tt.analysis.lyapunov_spectrum, tt.analysis.perturbed_twin, tt.kernels.of])
def test_parameters_that_are_none(analysis):
    net = network()
    net.parameters = 5
    with pytest.raises(TypeError, match=r"`network\.parameters` is 5 .*load_state_dict"):
        analysis(net)


def test_sizes_belong_to_the_network():
    for make in (lambda: tt.GRU(2, 4), lambda: tt.LSTM(input_size=2, hidden_size=4), lambda: tt.Rate(units=3)):
        with pytest.raises(TypeError, match=r"is a cell and takes .*; sizes belong to the network, `tt\.Network\(tt\."):
            make()
    assert tt.Rate(leak=0.2) == tt.Rate(0.2) == pickle.loads(pickle.dumps(tt.Rate(0.1)))._replace(leak=0.2)
