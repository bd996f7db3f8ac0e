"""The kernels look at what they are given, in plain Python and in compiled code, and write nothing out of bounds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numba import njit

import throughtime as tt
from throughtime import kernels

T, B, I, N = 4, 2, 3, 5
NET = tt.Network("rate", I, N, seed=0)
K = kernels.of(NET)
RIGHT = {"x": (T, B, I), "states": (T + 1, B, N), "grad_output": (T, B, N), "grad_last": (B, N)}


RIGHT_X, RIGHT_STATE = np.zeros((B, I)), np.zeros((B, N))


def arguments(**changed):
    rng = np.random.default_rng(0)
    found = {name: rng.normal(size=shape) for name, shape in RIGHT.items()}
    found["saved"] = np.zeros(0)  # the rate cell saves nothing
    return found | changed


def call(name, weights=K.weights, **changed):
    a = arguments(**changed)
    if name == "step":
        return K.step(weights, changed.get("x", RIGHT_X), changed.get("state", RIGHT_STATE))
    if name == "unroll":
        return K.unroll(weights, a["x"], a["states"])
    return K.backprop(weights, a["x"], a["states"], a["saved"], a["grad_output"], a["grad_last"])


def refused(kind, match, name, **changed):
    with pytest.raises(kind, match=match) as caught:
        call(name, **changed)
    assert len(str(caught.value)) < 400
    assert "numba" not in str(caught.value).lower()


@njit
def all_three(step, unroll, backprop, weights, x, states, saved, grad_output, grad_last):
    """A user's function, whose `try` tells which of the kernels refused."""
    found = 0
    try:
        step(weights, x[0], states[0])
    except Exception:
        found += 1
    try:
        unroll(weights, x, states)
    except Exception:
        found += 2
    try:
        backprop(weights, x, states, saved, grad_output, grad_last)
    except Exception:
        found += 4
    return found


def test_every_wrong_shape_is_refused_and_nothing_is_written():
    """Each axis of each argument one longer, one shorter, and empty, with a fence of numbers around it."""
    cases = []
    for name, shape in RIGHT.items():
        for axis, change in product(range(len(shape)), (-1, 1, None)):
            wrong = list(shape)
            wrong[axis] = 0 if change is None else wrong[axis] + change
            cases.append((name, tuple(wrong)))
    cases += [("saved", (1,)), ("saved", (100,))]
    for name, shape in cases:
        fence = np.full(int(np.prod(shape)) + 2000, 7.0)
        inside = fence[1000:-1000].reshape(shape)
        if name == "states" and not len(inside):
            continue  # states[0] of no states is the caller's own mistake
        if name == "x" and not len(inside):
            continue
        given = arguments(**{name: inside})
        order = ("x", "states", "saved", "grad_output", "grad_last")
        refusals = all_three(K.step, K.unroll, K.backprop, K.weights, *(given[key] for key in order))
        # a time too many or too few leaves the step as it is; a batch or size that differs, nothing
        steps = name in ("x", "states") and shape[1:] != RIGHT[name][1:]
        expected = 4 + 2 * (name in ("x", "states")) + steps
        assert refusals == expected, (name, shape)
        assert (fence == 7.0).all(), (name, shape)


def test_the_right_shapes_pass():
    given = arguments()
    values = (given[key] for key in ("x", "states", "saved", "grad_output", "grad_last"))
    assert all_three(K.step, K.unroll, K.backprop, K.weights, *values) == 0


SHAPES = {
    "unroll": {"x": ((T, B, I + 1), "number of inputs"), "states": ((T, B, N), "T\\+1, B, S")},
    "backprop": {
        "x": ((T, B, I - 1), "number of inputs"),
        "states": ((T + 1, B, 2 * N), "states` must have"),
        "saved": ((3,), "saved` has another size"),
        "grad_output": ((T, B, N + 1), "grad_output` must"),
        "grad_last": ((B + 1, N), "grad_last` must"),
    },
    "step": {"x": ((B, I + 1), "number of inputs"), "state": ((B, N - 1), "state` must have")},
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in SHAPES.items() for key in keys])
def test_the_sentence_names_the_argument(name, key):
    shape, match = SHAPES[name][key]
    refused(ValueError, match, name, **{key: np.zeros(shape)})


def test_kinds_dtypes_and_orders_are_named():
    """Found when the call is compiled, said when it runs."""
    refused(ValueError, r"`x` is a float32 array of 2 axes; expected x \(B, I\)", "step", x=np.zeros((B, I), "f4"))
    refused(ValueError, r"`x` is a float64 array of 1 axis; .*np\.ascontiguousarray", "step", x=np.zeros(I))
    refused(
        ValueError,
        r"`state` is a float64 array of 2 axes, not C-contiguous;",
        "step",
        state=np.zeros((B, 2 * N))[:, ::2],
    )
    refused(ValueError, r"`x` is .* int64 array of 2 axes", "step", x=np.zeros((B, I), int))
    refused(TypeError, r"`state` is None", "step", state=None)
    refused(TypeError, r"`x` is a number", "step", x=1.0)
    refused(TypeError, r"was given tuple, list, ndarray; it takes k\.weights", "step", x=[[1.0] * I] * B)
    refused(TypeError, r"step\(weights, x, state\)` was given", "step", x=object())
    fixed = np.zeros((T + 1, B, N))
    fixed.flags.writeable = False
    refused(ValueError, r"`states` is a float64 array of 3 axes, read-only; .*not read-only", "unroll", states=fixed)


def test_a_wrong_kind_in_compiled_code():
    """The user's function compiles, and its call raises the sentence."""
    step = K.step

    @njit
    def wrong(weights, x):
        state = np.zeros((2, 5))
        for _ in range(3):
            state = step(weights, x, state)
        return state

    with pytest.raises(ValueError, match=r"`x` is a float64 array of 3 axes; expected x \(B, I\)"):
        wrong(K.weights, np.zeros((1, B, I)))
    assert wrong(K.weights, np.zeros((B, I))).shape == (B, N)


def test_weights_of_another_network():
    other = kernels.of(tt.Network("lstm", I, N, seed=0))
    refused(ValueError, "another kind of cell", "step", weights=other.weights)
    wide = kernels.of(tt.Network("rate", I, 100 * N, seed=0))
    refused(ValueError, "state` must have", "step", weights=wide.weights)
    fields, pointwise, _, backward, counts, sizes = K.weights
    torn = (fields, pointwise, wide.weights[2], backward, counts, sizes)
    refused(ValueError, "do not fit together", "step", weights=torn)
    refused(TypeError, "`weights` is a tuple", "step", weights=(1, 2))
    single = kernels.of(tt.Network("rate", I, N, dtype="float32", seed=0))
    refused(TypeError, "`weights` is a tuple; .* network of float64", "step", weights=single.weights)


def test_repr_is_short():
    assert repr(K) == "LayerKernels(step, unroll, backprop, weights: 3 inputs, 5 units, float64)"
