"""What users really hand in: accepted with the right result, or refused in words that say what to do."""

import array
from fractions import Fraction

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import CELLS
from throughtime.refuse import checks

T, B, I, N = 6, 3, 4, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(T, B, I))


def network(cell="gru", **options):
    return tt.Network(cell, I, N, **{"seed": 1, **options})


def refused(error, words, call, *args, **options):
    with pytest.raises(error, match=words):
        call(*args, **options)


# ------------------------------------------------------------------------------------- accepted


class Wrapped:
    """Another library's array."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return np.array(self.value, dtype)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


ACCEPTED = {
    "list": np.ndarray.tolist,
    "list of arrays": list,
    "fortran": np.asfortranarray,
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "transposed": lambda x: np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0),
    "read-only": read_only,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "longdouble": lambda x: x.astype(np.longdouble),
    "__array__": Wrapped,
    "masked, with nothing masked": np.ma.asarray,
    "unaligned": lambda x: np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("kind", ACCEPTED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_any_layout_gives_the_same_result(kind, dtype, cell):
    convert, net, x = ACCEPTED[kind], network(cell, dtype=dtype), X.astype(dtype)
    h = RNG.normal(size=(1, B, N)).astype(dtype)
    state = (h, h + 1) if cell == "lstm" else h
    changed = tuple(convert(s) for s in state) if cell == "lstm" else convert(h)
    lengths = [6, 0, 2]
    plain, run = net.unroll(x, state, lengths), net.unroll(convert(x), changed, np.array(lengths, "u1"))
    np.testing.assert_array_equal(run.output, plain.output)
    np.testing.assert_array_equal(run.final_state, plain.final_state)
    assert run.output.dtype == net.dtype


@pytest.mark.parametrize("kind", ACCEPTED)
def test_any_layout_of_gradients_and_tangents_gives_the_same_result(kind):
    net = network()
    run = net.unroll(X)
    g, h, v = (RNG.normal(size=shape) for shape in ((T, B, N), (1, B, N), (B, N, 2)))
    plain = run.backprop(g, h)
    other = run.backprop(*map(ACCEPTED[kind], (g, h)))
    np.testing.assert_array_equal(other.input, plain.input)
    for name, value in plain.parameters.items():
        np.testing.assert_array_equal(other.parameters[name], value)
    for product in (run.jvp, run.vjp):
        np.testing.assert_array_equal(product(ACCEPTED[kind](v), 1, 4), product(v, 1, 4))


@pytest.mark.parametrize("dtype", ["?", "b", "B", "h", "I", "q", "Q", "e", "f", "d", "g"])
def test_numbers_of_any_real_type(dtype):
    x = np.arange(T * B * I).reshape(T, B, I) % 2
    np.testing.assert_array_equal(network().unroll(x.astype(dtype)).output, network().unroll(x.astype(float)).output)


def test_arrays_of_the_standard_library():
    x = array.array("d", range(I))
    np.testing.assert_array_equal(network().unroll([x, x]).output, network().unroll([list(x)] * 2).output)


def test_torch_tensors(torch):
    net = network(dtype="float32")
    x = torch.from_numpy(X)
    np.testing.assert_array_equal(
        net.unroll(x, lengths=torch.tensor([6, 2, 0])).output, net.unroll(X, lengths=[6, 2, 0]).output
    )
    np.testing.assert_array_equal(
        net.unroll(x.transpose(0, 2).contiguous().transpose(0, 2)).output, net.unroll(X).output
    )
    refused(TypeError, r"`x` is a torch.Tensor that requires grad.*pass `x.detach\(\)`", net.unroll, x.requires_grad_())
    refused(
        TypeError,
        r"`x` is a torch.Tensor that NumPy cannot read, of dtype torch.bfloat16; pass `x.float\(\)`",
        net.unroll,
        x.detach().bfloat16(),
    )
    refused(TypeError, "`x` has dtype complex128", net.unroll, x.detach().to(torch.complex128))


def test_the_input_is_copied_and_never_written():
    x, h = X.copy(), np.ones((1, B, N))
    run = network().unroll(x, h)
    x[:] = np.nan
    h[:] = np.nan
    np.testing.assert_array_equal(run.input, X)
    np.testing.assert_array_equal(
        run.backprop(np.ones_like(run.output)).input,
        network().unroll(X, np.ones((1, B, N))).backprop(np.ones((T, B, N))).input,
    )


def test_lengths_are_copied():
    lengths = np.array([6, 2, 0])
    run = network().unroll(X, lengths=lengths)
    lengths[:] = 1
    np.testing.assert_array_equal(run.lengths, [6, 2, 0])


@pytest.mark.parametrize(("steps", "batch"), [(0, B), (T, 0), (0, 0)])
def test_nothing_gives_nothing(steps, batch):
    net, h = network(num_layers=2), np.ones((2, batch, N))
    run = net.unroll(np.zeros((steps, batch, I)), h, [0] * batch)
    assert run.output.shape == (steps, batch, N)
    np.testing.assert_array_equal(run.final_state, h)
    grads = run.backprop(np.zeros((steps, batch, N)), h)
    np.testing.assert_array_equal(grads.initial_state, h)
    assert grads.input.shape == (steps, batch, I)
    assert not any(value.any() for value in grads.parameters.values())


# ------------------------------------------------------------------------------------- sequences

WRONG_TYPES = {
    "complex": (X + 1j, TypeError, "`x` has dtype complex128; networks compute with real numbers.*pass `x.real`"),
    "object": (
        X.astype(object),
        TypeError,
        r"`x` has dtype object \(its first element: float\).*np.asarray\(x, dtype=float\)",
    ),
    "fractions": ([[Fraction(1, 3)] * I], TypeError, r"dtype object \(its first element: Fraction\)"),
    "big integers": ([[10**40] * I], TypeError, r"dtype object \(its first element: int\)"),
    "nothing, as objects": (np.zeros((0, I), object), TypeError, "dtype object"),
    "strings": ([["a"] * I], TypeError, "`x` holds text .*Encode it first.*np.eye"),
    "bytes": (b"abc", TypeError, "`x` holds text"),
    "string": ("abc", TypeError, "`x` holds text"),
    "dates": (
        np.zeros((T, I), "M8[s]"),
        TypeError,
        r"`x` has dtype datetime64\[s\]; expected an array of real numbers",
    ),
    "records": (np.zeros((T, I), [("a", float)]), TypeError, r"`x` has dtype \[\('a', '<f8'\)\]; expected"),
    "ragged": ([[0.0] * I, [0.0]], ValueError, r"`x` is a ragged list.*Pad them to one array .*`lengths=\["),
    "ragged arrays": ([np.zeros((2, I)), np.zeros((3, I))], ValueError, "`x` is a ragged list"),
    "None": (None, TypeError, "`x` is None"),
    "generator": ((row for row in X), TypeError, "`x` is .*generator.*; expected an array of real numbers"),
    "dictionary": ({"x": 1}, TypeError, r"`x` is \{'x': 1\} \(dict\); expected an array"),
    "masked": (np.ma.masked_greater(X, 0), ValueError, "`x` has masked entries.*pass `lengths`"),
    "module": (np, TypeError, "`x` is an object of type module; expected"),
}


@pytest.mark.parametrize("what", WRONG_TYPES)
def test_sequences_of_the_wrong_type(what):
    x, error, words = WRONG_TYPES[what]
    refused(error, words, network().unroll, x)


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((), {}, r"`x` has shape \(\): a single number. Sequences are \(time, batch, inputs\)"),
        ((7,), {}, r"`x` has shape \(7,\): 1 axis. Sequences are"),
        ((I,), {}, r"For one sequence of a single time step pass `x\[None, :\]`"),
        ((7,), {"input_size": 1}, r"For one sequence of one input pass `x\[:, None\]`"),
        ((2, T, B, I), {}, r"has shape \(2, 6, 3, 4\): 4 axes. Sequences are \(time, batch, inputs\)"),
        (
            (T, B),
            {"input_size": 1},
            r"time 6, inputs 3, .*input_size=1.* If yours is \(time, batch\), pass `x\[:, :, None\]`",
        ),
        ((B, T), {"input_size": 1, "batch_first": True}, r"If yours is \(batch, time\), pass `x\[:, :, None\]`"),
        (
            (I, T),
            {},
            r"time 4, inputs 6, but this network has input_size=4. .*If yours is \(inputs, time\), pass `x.T`",
        ),
        ((T, 7), {}, r"time 6, inputs 7, .*build the network with `input_size=7`"),
        (
            (32, 100, 10),
            {"input_size": 100},
            r"`x` has shape \(32, 100, 10\): time 32, batch 100, inputs 10, but this network has input_size=100. "
            r"Sequences are \(time, batch, inputs\), \(batch, time, inputs\) with `batch_first=True`, .*"
            r"If yours is \(time, inputs, batch\), pass `np.swapaxes\(x, 1, 2\)`",
        ),
        ((I, T, B), {}, r"If yours is \(inputs, time, batch\), pass `np.moveaxis\(x, 0, 2\)`"),
        ((T, B, 7), {}, "time 6, batch 3, inputs 7, .*build the network with `input_size=7`"),
        (
            (T, B, 7),
            {"batch_first": True},
            r"batch 6, time 3, inputs 7.*Sequences are \(batch, time, inputs\), this network has",
        ),
    ],
)
def test_sequences_of_the_wrong_shape(shape, options, words):
    net = tt.Network("tanh", **{"input_size": I, "hidden_size": N, **options})
    refused(ValueError, words, net.unroll, np.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((7,), {"input_size": 1}),
        ((I,), {}),
        ((T, B), {"input_size": 1}),
        ((I, T), {}),
        ((32, 100, 10), {"input_size": 100}),
        ((I, T, B), {}),
    ],
)
def test_the_call_that_a_sentence_advises_works(shape, options):
    net, x = tt.Network("tanh", **{"input_size": I, "hidden_size": N, **options}), np.zeros(shape)
    with pytest.raises(ValueError, match="pass") as caught:
        checks.sequence(x, net)
    checks.sequence(eval(str(caught.value).split("`")[-2], {"x": x, "np": np}), net)


def test_batch_first_changes_the_axes_of_the_input_only():
    net, first = network(), network(batch_first=True)
    h = RNG.normal(size=(1, B, N))
    a, b = net.unroll(X, h, [6, 2, 0]), first.unroll(X.swapaxes(0, 1), h, [6, 2, 0])
    np.testing.assert_array_equal(b.output, a.output.swapaxes(0, 1))
    np.testing.assert_array_equal(b.final_state, a.final_state)
    assert b.input.shape == (T, B, I)


# ------------------------------------------------------------------------------------- lengths


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        ([1, 2], ValueError, r"`lengths` has shape \(2,\); expected \(batch,\) = \(3,\): one length for each sequence"),
        (3, ValueError, r"`lengths` has shape \(\); expected \(batch,\) = \(3,\)"),
        ([[1, 2, 3]], ValueError, r"`lengths` has shape \(1, 3\)"),
        ([1, 7, 2], ValueError, r"`lengths\[1\]` is 7, but a length is between 0 and the 6 time steps of the input\.$"),
        ([1, -1, 9], ValueError, r"`lengths\[1\]` is -1, .*between 0 and the 6 time steps.*\(2 of them are wrong\)"),
        ([1, 2, 2.5], ValueError, r"`lengths\[2\]` is 2.5, but a length is a whole number"),
        ([np.nan, 2, 2], ValueError, r"`lengths\[0\]` is nan, but a length is a whole number"),
        ([np.inf, 2, 2], ValueError, r"`lengths\[0\]` is inf, but a length is between"),
        ([True, False, True], TypeError, r"`lengths` holds True and False; of a mask .*`mask.sum\(axis=0\)`"),
        (["1", "2", "3"], TypeError, "`lengths` holds text"),
        ([1, None, 3], TypeError, r"`lengths` has dtype object"),
        ([1j, 2, 3], TypeError, "`lengths` has dtype complex128"),
        ([2**63, 0, 0], ValueError, r"`lengths\[0\]` is \S+, but a length is between"),
    ],
)
def test_lengths_that_mean_nothing(lengths, error, words):
    refused(error, words, network().unroll, X, lengths=lengths)


# ------------------------------------------------------------------------------------- states


def test_a_final_state_is_a_legal_state():
    for cell in CELLS:
        for x in (X, X[:, 0]):
            net = network(cell, num_layers=2)
            whole = net.unroll(x)
            half = net.unroll(x[:3])
            np.testing.assert_allclose(
                net.unroll(x[3:], half.final_state).output, whole.output[3:], rtol=1e-13, atol=1e-15
            )


H = np.zeros((1, B, N))


@pytest.mark.parametrize(
    ("cell", "state", "error", "words"),
    [
        (
            "gru",
            np.zeros((1, B, 6)),
            ValueError,
            r"`state` has shape \(1, 3, 6\); expected \(layers\*directions, batch, hidden_size\) = \(1, 3, 5\)",
        ),
        ("gru", np.zeros((B, 6)), ValueError, r"`state` has shape \(3, 6\); expected"),
        (
            "gru",
            np.zeros((B, 1, N)),
            ValueError,
            r"\(batch, layers\*directions, hidden_size\), pass `np.swapaxes\(state, 0, 1\)`",
        ),
        ("gru", (H, H), ValueError, "`state` is a tuple of 2, but the cell GRU has one state: pass the array h alone"),
        ("gru", (H,), ValueError, "`state` is a tuple of 1"),
        ("gru", H * 1j, TypeError, "`state` has dtype complex128"),
        (
            "lstm",
            H,
            ValueError,
            r"`state` is an object of type ndarray, but the cell LSTM has 2 states: pass the tuple \(h, c\)",
        ),
        ("lstm", (H,), ValueError, r"`state` has 1 parts, but the cell LSTM has 2 states: pass the tuple \(h, c\)"),
        ("lstm", (H, H, H), ValueError, "`state` has 3 parts, but the cell LSTM has 2 states"),
        ("lstm", (H, np.zeros((1, B, 6))), ValueError, r"`state\[1\]` has shape \(1, 3, 6\); expected"),
        ("lstm", (H, "c"), TypeError, r"`state\[1\]` holds text"),
    ],
)
def test_states_that_do_not_fit(cell, state, error, words):
    refused(error, words, network(cell).unroll, X, state)


def test_states_of_a_single_sequence_have_no_batch_axis():
    net = network()
    refused(
        ValueError,
        r"shape \(1, 1, 5\); expected \(layers\*directions, hidden_size\) = \(1, 5\). The input `x` has no batch",
        net.unroll,
        X[:, 0],
        np.zeros((1, 1, N)),
    )


def test_batch_first_is_named_where_a_state_has_its_axes_swapped():
    refused(
        ValueError,
        "`batch_first` does not touch states",
        network(batch_first=True).unroll,
        X.swapaxes(0, 1),
        np.zeros((B, 1, N)),
    )


# ------------------------------------------------------------------------------------- what is asked of a run


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda run: run.backprop(np.ones((T, B, N + 1))),
            ValueError,
            r"`grad_output` has shape \(6, 3, 6\); expected",
        ),
        (lambda run: run.backprop(grad_final_state=np.ones((1, B, 7))), ValueError, "`grad_final_state` has shape"),
        (
            lambda run: run.jvp(np.ones((B, N + 1)), 0, 1),
            ValueError,
            r"has shape \(3, 6\); expected \(batch, state_size\)",
        ),
        (lambda run: run.vjp(np.ones((B, N)) * 1j, 0, 1), TypeError, "has dtype complex128"),
        (lambda run: run.jvp(np.ones((B, N)), -1, 1), ValueError, "`start` is -1"),
        (lambda run: run.jvp(np.ones((B, N)), 0, T + 1), ValueError, "`stop` is 7"),
        (lambda run: run.vjp(np.ones((B, N)), 3, 2), ValueError, "`(start|stop)` is"),
        (lambda run: run.jacobian(0), ValueError, "`t` is 0; .*1 to 6"),
        (lambda run: run.jacobian(1.5), (TypeError, ValueError), "`t` is 1.5"),
        (lambda run: run.backprop(), ValueError, "pass `grad_output`"),
        (lambda run: run.backprop(np.ones((T, B, N)), window=0), ValueError, "`window` is 0"),
    ],
)
def test_a_run_refuses_what_does_not_fit(call, error, words):
    refused(error, words, call, network().unroll(X))
