"""Tensors and arrays that NumPy does not read as they are: each is refused with the call that makes it readable."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt
from throughtime.refuse import checks

T, B, I, N = 6, 3, 4, 5
X = np.random.default_rng(0).normal(size=(T, B, I))


def network(**options):
    return tt.Network("gru", I, N, seed=0, **options)


def sentence(value, error=TypeError):
    with pytest.raises(error) as caught:
        network().unroll(value)
    return str(caught.value)


def tensors(torch):
    """name -> (a tensor, what the sentence says of it)"""
    x = torch.from_numpy(X).float()
    narrow = {str(dtype): (x.to(dtype), "pass `x.float()`") for dtype in (torch.bfloat16, torch.float8_e4m3fn)}
    return narrow | {
        "gradient": (x.clone().requires_grad_(), "pass `x.detach()`"),
        "both": (x.bfloat16().requires_grad_(), "pass `x.detach().float()`"),
        "sparse": (x.to_sparse(), "pass `x.to_dense()`"),
        "sparse bfloat16": (x.bfloat16().to_sparse(), "pass `x.to_dense().float()`"),
        "conjugate": (torch.complex(x, x).conj(), "pass `x.resolve_conj()`"),
        "negative": (torch.complex(x, x).conj().imag, "pass `x.resolve_neg()`"),
        "parameter": (torch.nn.Parameter(x), "`x` is a torch.Parameter that requires grad"),
        "meta": (torch.zeros(T, B, I, device="meta"), "without numbers"),
        "complex": (torch.complex(x, x), "pass `x.real`"),
        "packed": (torch.nn.utils.rnn.pack_padded_sequence(x, [6, 2, 1]), "pad_packed_sequence(x)"),
        "list": ([x.clone().requires_grad_()[0]] * 2, "pass `x[0].detach()`"),
    }


def test_tensors(torch):
    for name, (tensor, words) in tensors(torch).items():
        assert words in sentence(tensor), name


def test_the_advised_call_works(torch):
    for name, (tensor, words) in tensors(torch).items():
        call = words.partition("`")[2].rstrip("`")
        if words.startswith("pass `x.") and name not in ("conjugate", "complex"):
            found = network().unroll(eval(call, {"x": tensor})).output
            np.testing.assert_allclose(np.abs(found).max(), np.abs(network().unroll(X).output).max(), rtol=0.2)


def test_half_precision_is_read(torch):
    half = X.astype(np.float16)
    np.testing.assert_array_equal(network().unroll(torch.from_numpy(half)).output, network().unroll(half).output)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((T, I), "M8[s]"), "(x - x[0]) / np.timedelta64(1, 's')"),
        (np.zeros((T, I), "m8[s]"), "`x / np.timedelta64(1, 's')`"),
        (np.zeros(T, [("a", float), ("b", float)]), '`x["a"]`'),
        (X.astype(np.clongdouble), "pass `x.real`"),
    ],
)
def test_arrays_of_numpy_that_hold_no_real_numbers(value, words):
    assert words in sentence(value)


def test_narrow_floats_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3, ml_dtypes.int4):
        assert "pass `x.astype(np.float32)`" in sentence(X.astype(dtype))


class Narrow:
    """A stand-in for a library whose arrays come as raw bytes of a float that NumPy does not have."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("data type 'bfloat16' not understood")


def test_what_another_library_cannot_convert():
    assert "NumPy cannot read (data type 'bfloat16' not understood)" in sentence(Narrow())


def test_sparse_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    assert "pass `x.toarray()`" in sentence(sparse.eye(4))
    np.testing.assert_array_equal(network().unroll(sparse.eye(4).toarray()).input[:, 0], np.eye(4))


def test_token_numbers_are_told_to_be_one_hot():
    tokens = np.random.default_rng(0).integers(0, I, (T, B))
    words = sentence(tokens, ValueError)
    assert f"`np.eye({I})[x]`" in words
    assert "input_size=3" not in words  # the batch
    run = network().unroll(np.eye(I)[tokens])
    assert run.output.shape == (T, B, N)
    assert "`input_size=51` or more" in sentence(np.full((T, B), 50), ValueError)
    assert "np.eye" not in sentence(tokens - 1.0, ValueError)
    assert checks.wrong_sequence((T, B), network()).endswith("with `input_size=3`.")  # of floats it may be that


def test_a_dict_of_parameters_is_told_once(torch):
    module = torch.nn.LSTM(I, N, num_layers=2, bidirectional=True)
    net = tt.Network("lstm", I, N, num_layers=2, bidirectional=True)
    with pytest.raises(ValueError, match=r"pass the `.state_dict\(\)` of its module.*and 15 more") as caught:
        net.load_state_dict(dict(module.named_parameters()))
    assert str(caught.value).count("requires grad") == 1
    net.load_state_dict(module.state_dict())


def test_projections_are_told(torch):
    with pytest.raises(ValueError, match="`proj_size`, which throughtime does not have") as caught:
        tt.Network("lstm", 3, 28).load_state_dict(torch.nn.LSTM(3, 28, proj_size=12).state_dict())
    assert "gates" not in str(caught.value)
