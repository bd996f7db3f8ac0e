"""Network: PyTorch's parameters in names, order and shapes; state dicts go in and out; what does not fit is refused."""

import copy
import pickle

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import CELLS, spec

GATES = {"lstm": 4, "gru": 3}
TORCH = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}


def other(net, seed=1):
    """A network like `net` with other parameters."""
    names = ("input_size", "hidden_size", "num_layers", "bidirectional", "bias", "batch_first", "dtype")
    return tt.Network(net.cell, seed=seed, **{name: getattr(net, name) for name in names})


def assert_same(net, values):
    assert list(net.parameters) == list(values)
    for name, value in net.parameters.items():
        np.testing.assert_array_equal(value, values[name], err_msg=name)


# ------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("cell", CELLS)
def test_names_order_and_shapes(cell):
    net = tt.Network(cell, 3, 5, num_layers=2, bidirectional=True)
    record = spec(CELLS[cell])
    g, blocks, parts = 5 * record.gates, 5 * len(record.blocks), 5 * record.parts
    assert g == 5 * GATES.get(cell, record.gates)
    expected = {}
    for k, inputs in ((0, 3), (1, 10)):
        for suffix in ("", "_reverse"):
            expected[f"weight_ih_l{k}{suffix}"] = (g, inputs)
            expected |= {f"weight_hh_l{k}{suffix}": (blocks, 5)} if blocks else {}
            expected[f"bias_ih_l{k}{suffix}"] = (g,)
            expected |= {f"bias_hh_l{k}{suffix}": (parts,)} if parts else {}
            expected |= {f"{name}_l{k}{suffix}": (5,) for name in record.parameters}
    assert {name: value.shape for name, value in net.parameters.items()} == expected == net.shapes
    assert list(net.parameters) == list(expected)
    assert net.state_size == 2 * 2 * 5 * record.states


@pytest.mark.parametrize("cell", TORCH)
@pytest.mark.parametrize("options", [{}, {"num_layers": 3}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_the_keys_are_torchs(torch, cell, options):
    theirs = getattr(torch.nn, TORCH[cell])(3, 5, dtype=torch.float64, **options).state_dict()
    net = tt.Network(cell, 3, 5, **options)
    assert list(net.parameters) == list(theirs)
    net.load_state_dict(theirs)
    assert_same(net, {name: value.numpy() for name, value in theirs.items()})


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64")])
def test_parameters_are_own_writable_arrays_of_the_dtype(dtype):
    net = tt.Network("gru", 3, 5, dtype=dtype)
    assert net.dtype == np.dtype(dtype)
    for value in net.parameters.values():
        assert value.dtype == net.dtype
        assert value.flags.writeable
        assert value.flags.c_contiguous
        assert value.flags.owndata


def test_layer_returns_what_the_engine_wants():
    net = tt.Network("lstm", 3, 5, num_layers=2, bidirectional=True, seed=0)
    for k in range(2):
        for reverse in (False, True):
            suffix = f"_l{k}" + "_reverse" * reverse
            found = net.layer(k, reverse)
            for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), found, strict=True):
                assert value is net.parameters[name + suffix]
    _, _, b_ih, b_hh = tt.Network("lstm", 3, 5, bias=False, dtype="float32").layer(0)
    for bias in (b_ih, b_hh):
        assert bias.shape == (20,)
        assert bias.dtype == np.float32
        assert not bias.any()


def test_changed_and_replaced_parameters_are_used():
    net, x = tt.Network("tanh", 2, 3, seed=0), np.ones((4, 2))
    before = net.unroll(x).output
    net.parameters["weight_hh_l0"] *= 2
    changed = net.unroll(x).output
    assert not np.array_equal(before, changed)
    net.parameters["weight_hh_l0"] = np.asfortranarray(net.parameters["weight_hh_l0"] / 2)
    np.testing.assert_array_equal(net.unroll(x).output, before)
    assert net.layer(0)[1].flags.c_contiguous
    net.parameters["weight_hh_l0"].flags.writeable = False
    np.testing.assert_array_equal(net.unroll(x).output, before)
    net.parameters["weight_hh_l0"] = net.parameters["weight_hh_l0"].view(np.memmap)
    np.testing.assert_array_equal(net.unroll(x).output, before)
    assert type(net.layer(0)[1]) is np.ndarray


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        (
            "weight_hh_l0",
            np.zeros((3, 4)),
            ValueError,
            r'parameters\["weight_hh_l0"\]` has shape \(3, 4\); expected \(3, 3\)',
        ),
        (
            "weight_hh_l0",
            np.zeros((3, 3), "f"),
            TypeError,
            r"dtype float32; this network computes in float64: put `.astype",
        ),
        ("weight_hh_l0", [[0.0] * 3] * 3, TypeError, r"`network.parameters\[.*put `np.array"),
        ("weight_hh_L0", np.zeros((3, 3)), ValueError, r'"weight_hh_L0"\]` is no parameter.*names: weight_ih_l0'),
    ],
)
def test_replaced_parameters_are_checked_when_used(name, value, error, words):
    net = tt.Network("tanh", 2, 3)
    net.parameters[name] = value
    with pytest.raises(error, match=words):
        net.unroll(np.ones((4, 2)))


def test_of_many_wrong_parameters_the_first_is_named():
    net = tt.Network("tanh", 2, 3)
    net.parameters = {name: value.tolist() for name, value in net.parameters.items()}
    with pytest.raises(TypeError, match=r'"weight_ih_l0"\]` is an object of type list'):
        net.unroll(np.ones((5, 2)))


def test_a_removed_parameter_is_missed():
    net = tt.Network("tanh", 2, 3)
    del net.parameters["bias_hh_l0"]
    with pytest.raises(ValueError, match=r'"bias_hh_l0"\]` has been removed.*shape \(3,\)'):
        net.unroll(np.ones((4, 2)))
    net.parameters = None
    with pytest.raises(TypeError, match=r"`network\.parameters` is None.*load_state_dict"):
        net.unroll(np.ones((4, 2)))


def test_copies_are_independent():
    net = tt.Network("lstm", 2, 3, seed=0)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(twin) == repr(net)
        assert_same(twin, net.parameters)
        twin.parameters["bias_ih_l0"][:] = 7
        assert not (net.parameters["bias_ih_l0"] == 7).any()


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (
            tt.Network("lstm", 8, 64),
            'Network(LSTM(), input_size=8, hidden_size=64, dtype="float64", 18,944 parameters)',
        ),
        (
            tt.Network(
                CELLS["leaky_tanh"](0.5),
                1,
                2,
                num_layers=2,
                bidirectional=True,
                bias=False,
                batch_first=True,
                dtype="f4",
            ),
            "Network(LeakyTanh(leak=0.5), input_size=1, hidden_size=2, num_layers=2, bidirectional=True, bias=False, "
            'batch_first=True, dtype="float32", 36 parameters)',
        ),
    ],
)
def test_repr(net, text):
    assert repr(net) == text


# ------------------------------------------------------------------------------------- state dicts


def test_state_dict_is_a_copy():
    net = tt.Network("gru", 2, 3, seed=0)
    values = net.state_dict()
    assert_same(net, values)
    values["weight_ih_l0"][:] = 7
    assert not (net.parameters["weight_ih_l0"] == 7).any()


@pytest.mark.parametrize(
    "convert",
    [np.asarray, np.asfortranarray, np.ndarray.tolist, lambda a: a.astype("longdouble"), lambda a: a.astype(">f8")],
)
def test_load_state_dict_takes_anything_array_like(convert):
    net = tt.Network("gru", 2, 3, num_layers=2, seed=0)
    target = other(net)
    held = dict(target.parameters)
    target.load_state_dict({name: convert(value) for name, value in net.parameters.items()})
    assert_same(target, net.parameters)
    for name, value in target.parameters.items():
        assert value is held[name], "the arrays stay the same objects"
        assert value.dtype == np.float64
        assert not np.shares_memory(value, net.parameters[name])


def test_load_state_dict_casts_to_the_networks_dtype():
    net = tt.Network("gru", 2, 3, seed=0)
    net.parameters["bias_ih_l0"][0] = 1e300  # too large for float32: inf, without a warning
    net.parameters["bias_ih_l0"][1] = np.nan
    single = tt.Network("gru", 2, 3, dtype="float32")
    single.load_state_dict(net.state_dict())
    with np.errstate(over="ignore"):
        assert_same(single, {name: value.astype("float32") for name, value in net.parameters.items()})
    assert np.isinf(single.parameters["bias_ih_l0"][0])


def test_load_state_dict_of_an_npz(tmp_path):
    net = tt.Network("gru", 2, 3, seed=0)
    np.savez(tmp_path / "net.npz", **net.state_dict())
    target = other(net)
    with np.load(tmp_path / "net.npz") as values:
        target.load_state_dict(values)
    assert_same(target, net.parameters)


def test_load_state_dict_of_torch_tensors(torch):
    module = torch.nn.LSTM(2, 3, bidirectional=True)
    net = tt.Network("lstm", 2, 3, bidirectional=True, dtype="float32")
    net.load_state_dict(module.state_dict())
    assert_same(net, {name: value.numpy() for name, value in module.state_dict().items()})
    module.load_state_dict({name: torch.from_numpy(value) for name, value in other(net).state_dict().items()})
    with pytest.raises(
        ValueError, match=r"weight_ih_l0` is a torch.Parameter that requires grad.*`weight_ih_l0.detach\(\)"
    ):
        net.load_state_dict(dict(module.named_parameters()))
    with pytest.raises(TypeError, match=r"The state dict is LSTM.*pass its `.state_dict\(\)`"):
        net.load_state_dict(module)


def test_loading_mends_what_was_replaced_by_something_else():
    net = tt.Network("tanh", 2, 3)
    values = net.state_dict()
    net.parameters["bias_ih_l0"] = "nonsense"
    del net.parameters["bias_hh_l0"]
    net.load_state_dict(values)
    assert net.unroll(np.ones((2, 2))).output.shape == (2, 3)


def test_a_network_can_be_loaded_from_its_own_arrays_exchanged():
    net = tt.Network("linear", 3, 3, seed=0)
    was = net.state_dict()
    p = net.parameters
    net.load_state_dict({**p, "weight_ih_l0": p["weight_hh_l0"], "weight_hh_l0": p["weight_ih_l0"]})
    np.testing.assert_array_equal(p["weight_ih_l0"], was["weight_hh_l0"])
    np.testing.assert_array_equal(p["weight_hh_l0"], was["weight_ih_l0"])


def changed(values, **changes):
    """`values` without the names whose change is None."""
    values = {**values, **changes}
    return {name: value for name, value in values.items() if value is not None}


def prefixed(values, prefix):
    return {prefix + name: value for name, value in values.items()}


LSTM = tt.Network("lstm", 3, 4, seed=0)
VALUES = LSTM.state_dict()


def like(**options):
    arguments = {"cell": "lstm", "input_size": 3, "hidden_size": 4, **options}
    return tt.Network(**arguments).state_dict()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (changed(VALUES, bias_hh_l0=None, weight_hh_l0=None), "missing: weight_hh_l0, bias_hh_l0"),
        (changed(VALUES, other=np.zeros(3), more=np.zeros(3)), "unexpected: other, more"),
        (changed(VALUES, weight_hh_l0=np.zeros((4, 16))), r"misshaped: weight_hh_l0 \(4, 16\) instead of \(16, 4\)"),
        (changed(VALUES, weight_hh_l0=np.zeros((16, 4), complex)), "weight_hh_l0` has dtype complex128"),
        (changed(VALUES, weight_hh_l0="text"), "weight_hh_l0` holds text"),
        (changed(VALUES, weight_hh_l0=[[1], [2, 3]]), "weight_hh_l0` is a ragged list"),
        (
            changed(VALUES, bias_ih_l0=None, extra=0, bias_hh_l0=np.zeros(2), weight_ih_l0=None),
            r"missing: weight_ih_l0, bias_ih_l0; unexpected: extra; misshaped: bias_hh_l0 \(2,\) instead of \(16,\)",
        ),
        (
            prefixed(VALUES, "rnn."),
            r"prefix 'rnn.' .*\{k.removeprefix\('rnn.'\): v for k, v in state_dict.items\(\) if k.starts",
        ),
        (prefixed(VALUES, "a.lstm.") | {"fc.weight": 0}, "prefix 'a.lstm.'"),
        (prefixed(VALUES, "a.") | prefixed(VALUES, "b."), r"prefix 'a.' \(or 'b.'\)"),
        (like(bidirectional=True), "unexpected: .*_reverse.*a network with bidirectional=True"),
        (like(num_layers=3), "unexpected: .*_l2.*a network with num_layers=3"),
        (like(bias=False), "missing: bias_ih_l0, bias_hh_l0.*a network with bias=False"),
        (like(hidden_size=5), "misshaped: .*a network with hidden_size=5"),
        (like(input_size=7, hidden_size=5), "a network with input_size=7, hidden_size=5"),
        (like(cell="gru"), r"Its cell has 3 gates \(.*3: gru; 4: lstm\), this network's has 4"),
        ({}, "missing: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0"),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(values, words):
    net = other(LSTM)
    before = net.state_dict()
    with pytest.raises(
        ValueError, match=f"The state dict does not fit this network, and nothing was changed; .*{words}"
    ):
        net.load_state_dict(values)
    assert_same(net, before)


def test_the_advice_about_a_prefix_works():
    state_dict = prefixed(VALUES, "rnn.") | {"fc.weight": np.zeros((1, 4))}
    with pytest.raises(ValueError) as caught:
        LSTM.load_state_dict(state_dict)
    advice = str(caught.value).split("`")[1]
    net = other(LSTM)
    net.load_state_dict(eval(advice, {"state_dict": state_dict}))
    assert_same(net, VALUES)


@pytest.mark.parametrize("values", [None, [np.zeros(3)], 3])
def test_a_state_dict_is_a_mapping(values):
    with pytest.raises(TypeError, match=r"The state dict is .*; expected a mapping from names to arrays"):
        LSTM.load_state_dict(values)
