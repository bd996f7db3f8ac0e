"""Attention: plain sums, PyTorch's gradients, central differences, weights that sum to 1, masks, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_model_gradients import slope_two

import throughtime as tt

T, S, B, N, M, A = 5, 7, 3, 4, 6, 8
RNG = np.random.default_rng(0)
MEMORY = RNG.standard_normal((S, B, M))
ENDS = (np.array([T, 0, 3]), np.array([S, 2, 0]))
KIND = pytest.mark.parametrize("kind", ["dot", "general", "additive"])
WITH_LENGTHS = pytest.mark.parametrize("lengths", [None, ENDS, (None, ENDS[1])], ids=["whole", "lengths", "memory"])


def made(kind, dtype="float64"):
    queries = M if kind == "dot" else N
    model = tt.models.Attention(kind, queries, M, size=A if kind == "additive" else None, dtype=dtype, seed=0)
    return model, (np.random.default_rng(1).standard_normal((T, B, queries)), MEMORY)


def plain(model, x, lengths):
    """One query, one entry at a time."""
    (q, m), p = x, model.parameters
    ends = lengths or (None, None)
    q_ends, m_ends = (np.full(B, n) if e is None else e for e, n in zip(ends, (T, S), strict=True))
    context, weights = np.zeros((T, B, M)), np.zeros((T, B, S))
    for b in range(B):
        for t in range(q_ends[b]):
            scores = []
            for s in range(m_ends[b]):
                if model.kind == "dot":
                    scores.append(q[t, b] @ m[s, b])
                elif model.kind == "general":
                    scores.append(q[t, b] @ p["weight"] @ m[s, b])
                else:
                    u = p["query_weight"] @ q[t, b] + p["key_weight"] @ m[s, b]
                    scores.append(p["score_weight"] @ np.tanh(u))
            chances = np.exp(scores)
            for s, chance in enumerate(chances):
                weights[t, b, s] = chance / chances.sum()
                context[t, b] += weights[t, b, s] * m[s, b]
    return context, weights


@KIND
@WITH_LENGTHS
def test_plain_sums(kind, lengths):
    model, x = made(kind)
    run = model.unroll(x, lengths=lengths)
    context, weights = plain(model, x, lengths)
    assert np.allclose(run.output, context, rtol=0, atol=1e-14 * np.abs(MEMORY).max())
    assert np.allclose(run.weights, weights, rtol=0, atol=1e-14)
    assert np.array_equal(run.weights == 0, weights == 0)
    seen = weights.sum(axis=2) > 0
    assert np.abs(run.weights.sum(axis=2)[seen] - 1).max() <= S * 2.3e-16


@KIND
@WITH_LENGTHS
def test_central_differences(kind, lengths):
    """Of the parameters, the queries and the memory together."""
    model, x = made(kind)
    sizes = [model.flat.size, x[0].size, x[1].size]
    ends = np.cumsum([0, *sizes])

    def fun(vector):
        model.flat[...] = vector[: ends[1]]
        q, m = (vector[a:b].reshape(part.shape) for a, b, part in zip(ends[1:-1], ends[2:], x, strict=True))
        run = model.unroll((q, m), lengths=lengths)
        found = run.backprop(np.cos(run.output))
        gradient = [found.parameters[name].ravel() for name in model.shapes]
        return np.sin(run.output).sum(), np.concatenate([*gradient, *(part.ravel() for part in found.input)])

    slope_two(fun, np.concatenate([model.flat, x[0].ravel(), x[1].ravel()]))


@KIND
def test_torch(kind, torch):
    model, x = made(kind)
    q, m = (torch.from_numpy(part).requires_grad_() for part in x)
    p = {name: torch.from_numpy(value).requires_grad_() for name, value in model.state_dict().items()}
    if kind == "dot":
        scores = torch.einsum("tbn,sbn->tbs", q, m)
    elif kind == "general":
        scores = torch.einsum("tbn,nm,sbm->tbs", q, p["weight"], m)
    else:
        u = (q @ p["query_weight"].T)[:, None] + (m @ p["key_weight"].T)[None]
        scores = (u.tanh() @ p["score_weight"]).transpose(1, 2)
    context = torch.einsum("tbs,sbm->tbm", scores.softmax(dim=-1), m)
    context.sin().sum().backward()
    run = model.unroll(x)
    found = run.backprop(np.cos(run.output))
    assert np.allclose(run.output, context.detach().numpy(), rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(found.input, (q, m), strict=True):
        assert np.allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-13)
    for name, value in p.items():
        assert np.allclose(found.parameters[name], value.grad.numpy(), rtol=1e-10, atol=1e-13), name


@KIND
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_padding_changes_nothing(kind, dtype, threads):
    """What stands in it, NaN too; and the same bits for any number of threads."""
    model, x = made(kind, dtype)
    found = []
    for count, filling in ((1, 0.0), (2, np.nan), (3, 7.0)):
        threads(count)
        own = tuple(part.copy() for part in x)
        for part, ends in zip(own, ENDS, strict=True):
            part[np.arange(len(part))[:, None] >= ends] = filling
        run = model.unroll(own, lengths=ENDS)
        back = run.backprop(np.ones_like(run.output))
        found.append([run.output, run.weights, *back.input, *back.parameters.values()])
    assert all(part.dtype == np.dtype(dtype) for part in found[0])
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


@KIND
def test_one_sequence_without_a_batch(kind):
    model, (q, m) = made(kind)
    one, whole = model.unroll((q[:, 0], m[:, 0])), model.unroll((q[:, :1], m[:, :1]))
    assert np.array_equal(one.output, whole.output[:, 0])
    assert np.array_equal(one.weights, whole.weights[:, 0])
    back = one.backprop(np.ones((T, M))).input
    assert [part.shape for part in back] == [q[:, 0].shape, m[:, 0].shape]


def test_nan_stays_in_its_query_and_sequence():
    model, (q, m) = made("general")
    q = q.copy()
    q[2, 1] = np.nan
    output = model.unroll((q, m)).output
    assert np.isnan(output[2, 1]).all()
    assert np.isnan(output).sum() == M


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tt.models.Attention("dot", 3, 4), ValueError, "multiplies them number by number"),
        (lambda: tt.models.Attention("luong", 3, 4), ValueError, 'There is no kind of attention "luong"'),
        (lambda: tt.models.Attention("general", 3, 0), ValueError, "`keys` is 0"),
        (lambda: made("general")[0].unroll(MEMORY), TypeError, "of queries and a memory it is a tuple of two"),
        (lambda: made("general")[0].unroll((MEMORY, MEMORY)), ValueError, "an attention of queries=4 takes"),
        (lambda: made("dot")[0].unroll((MEMORY[:, :2], MEMORY)), ValueError, "of one batch"),
        (lambda: made("dot")[0].unroll((MEMORY, MEMORY[:0])), ValueError, "one of them is empty"),
        (lambda: made("dot")[0].unroll((MEMORY, MEMORY), lengths=[1, 2, 3]), TypeError, "`lengths` is"),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_model_without_parameters_takes_none():
    look = tt.models.Attention("dot", queries=8, keys=8)
    assert look.state_dict() == {}
    look.load_state_dict({})
    look.write(np.zeros(0))
    with pytest.raises(ValueError, match="weight"):
        look.load_state_dict({"weight": np.zeros((2, 2))})
