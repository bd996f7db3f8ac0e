"""Runs that keep their states every k steps: the same numbers as those that keep all, and what they cannot give."""

from __future__ import annotations

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

import throughtime as tt

T, B, I, N = 60, 3, 2, 9
EPS = np.finfo(float).eps
NOISE = ("zoneout", "dropout")


def drawn(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def noise(seed=1):
    return [tt.Zoneout(0.2, seed=seed), tt.RecurrentDropout(0.2, seed=seed)]


def parts(value):
    """All arrays in gradients or a state."""
    if isinstance(value, (tuple, list)):
        return [array for own in value for array in parts(own)]
    return [] if value is None else [value]


def of_gradients(found, *, parameters=True):
    whole = [found.input, found.initial_state, found.states]
    return parts(whole) + (list(found.parameters.values()) if parameters else [])


def close(found, expected, terms):
    """To the rounding of sums of so many terms in another order: c·√terms·eps of the largest number, c = 8."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        eps = np.finfo(one.dtype).eps
        np.testing.assert_allclose(
            one, other, rtol=0, atol=8 * terms**0.5 * eps * max(1e-300, np.abs(other).max(initial=0))
        )


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def both(net, x, checkpoint, **options):
    """The run without and with."""
    return [net.unroll(x, checkpoint=every, **{k: v() if callable(v) else v for k, v in options.items()})
            for every in (None, checkpoint)]  # fmt: skip


def back(run, **options):
    g = drawn(run.output.shape, 3).astype(run.network.dtype)
    return run.backprop(g, run.final_state, states=True, cells=False, **options)


CELLS = ("tanh", "lstm", "gru", "cho_gru", "rate", "peephole_lstm", "slstm", "lru", "min_gru")


@pytest.mark.parametrize("every", [1, 7, 60, 100, "auto"])
@pytest.mark.parametrize("lengths", [None, [60, 17, 0]])
@pytest.mark.parametrize("layers", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("cell", ["lstm", "rate"])
def test_the_same_gradients(cell, layers, lengths, every):
    """Output, states, and the gradients of input and states to the bit; those of parameters as sums in other orders."""
    net = tt.Network(cell, I, N, seed=0, **layers)
    plain, run = both(net, drawn((T, B, I)), every, lengths=lengths)
    same([run.output, *parts(run.final_state)], [plain.output, *parts(plain.final_state)])
    found, expected = back(run), back(plain)
    same(of_gradients(found, parameters=False), of_gradients(expected, parameters=False))
    close(found.parameters.values(), expected.parameters.values(), T * B)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_same_bits(cell, dtype):
    """Where the pieces hold whole groups of the steps whose weight gradients are summed at once, as "auto" chooses."""
    net = tt.Network(cell, I, N, seed=0, dtype=dtype)
    plain, run = both(net, drawn((300, 40, I)), "auto", lengths=[300, 299, 7, 0] * 10)
    assert 17 < run.checkpoint < 60  # about √300, in whole groups
    same(of_gradients(back(run)), of_gradients(back(plain)))


def test_what_a_chain_refuses():
    for option in ({"checkpoint": 3}, {"noise": tt.Zoneout(0.1, seed=0)}):
        (name,) = option
        for piece in (tt.models.Readout(I, 2, seed=0), tt.models.Chain([tt.Network("gru", I, 2, seed=0)])):
            with pytest.raises(ValueError, match=f"`{name}` is for networks among the pieces, and here are none"):
                tt.models.Chain([piece], **option)
    model = tt.models.Chain([tt.Network("gru", I, 2, seed=0)], checkpoint=7)
    batch, loss = (drawn((T, B, I)), drawn((T, B, 2))), tt.training.mean_squared_error
    for penalty in (tt.training.Omega(1.0), tt.training.Flossing(1)):
        with pytest.raises(ValueError, match=r"needs the states of all steps, .* every 7 steps: make it without"):
            tt.training.fit(model, [batch], loss, tt.training.SGD(0.1), steps=1, penalties=[penalty])


@pytest.mark.parametrize("layers", [{"num_layers": 3}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_the_same_bits_of_several_layers(layers):
    net = tt.Network("gru", I, N, seed=0, **layers)
    plain, run = both(net, drawn((300, 40, I)), 26, lengths=[300, 299, 7, 0] * 10)
    same(of_gradients(back(run)), of_gradients(back(plain)))


def test_the_bits_do_not_depend_on_threads(monkeypatch):
    found = []
    before = tt.get_num_threads()
    try:
        for count in (1, 2):
            tt.set_num_threads(count)
            net = tt.Network("lstm", 16, 64, num_layers=2, seed=0, dtype="float32")
            run = net.unroll(drawn((64, 32, 16)), checkpoint=10)
            found.append([run.output, *of_gradients(back(run))])
    finally:
        tt.set_num_threads(before)
    same(*found)


@pytest.mark.parametrize("options", [{"layer_norm": True}, {"layer_norm": True, "bidirectional": True}], ids=str)
def test_normalised(options):
    net = tt.Network("gru", I, N, num_layers=2, seed=0, **options)
    plain, run = both(net, drawn((T, B, I)), 7, lengths=[60, 17, 3])
    found, expected = back(run), back(plain)
    close(of_gradients(found), of_gradients(expected), T * B * N)


def test_unlike_layers_parametrised_and_scanned():
    ways = {"weight_hh": tt.parametrise.orthogonal()}
    for net in (
        tt.Network(["lstm", "tanh"], I, [4, 9], seed=0),
        tt.Network("tanh", I, N, parametrise=ways, seed=0),
        tt.Network("tanh", I, 64, parametrise={"weight_hh": tt.parametrise.masked(np.eye(64))}, seed=0),
    ):
        plain, run = both(net, drawn((T, B, I)), 7)
        close(of_gradients(back(run)), of_gradients(back(plain)), T * B)
    net = tt.Network("min_gru", I, 2, seed=0)
    plain, run = both(net, drawn((600, B, I)), 150, method="scan")
    close([run.output, *of_gradients(back(run))], [plain.output, *of_gradients(back(plain))], 600 * B)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_noise_is_drawn_once(bidirectional):
    net = tt.Network("lstm", I, N, num_layers=2, bidirectional=bidirectional, seed=0)
    plain, run = both(net, drawn((T, B, I)), 7, noise=noise, lengths=[60, 17, 3])
    same([run.output], [plain.output])
    same(of_gradients(back(run), parameters=False), of_gradients(back(plain), parameters=False))
    same(of_gradients(back(run)), of_gradients(back(run)))  # and again on a second way back
    assert not np.array_equal(run.output, net.unroll(drawn((T, B, I)), lengths=[60, 17, 3]).output)


@pytest.mark.parametrize("way", [{"window": 5}, {"clip_state": 0.5}, {"per_sequence": True}], ids=str)
def test_other_ways_back(way):
    net = tt.Network("gru", I, N, num_layers=2, seed=0)
    plain, run = both(net, drawn((T, B, I)), 7, lengths=[60, 17, 3])
    found, expected = back(run, **way), back(plain, **way)
    same(of_gradients(found, parameters=False), of_gradients(expected, parameters=False))
    close(found.parameters.values(), expected.parameters.values(), T * B)


def test_asked_for_less_and_into_arrays():
    net = tt.Network("lstm", I, N, seed=0)
    plain, run = both(net, drawn((T, B, I)), 7)
    g = drawn((T, B, N), 3)
    whole = run.backprop(g)
    assert whole.states is None  # T (B, S) numbers, which is what such a run avoids
    less = run.backprop(g, input=False, parameters=["bias_hh_l0"])
    assert less.input is None
    assert list(less.parameters) == ["bias_hh_l0"]
    same(less.parameters.values(), [whole.parameters["bias_hh_l0"]])
    out = run.backprop(0 * g)
    run.backprop(g, out=out)
    same(of_gradients(out), of_gradients(whole))
    close(whole.parameters.values(), plain.backprop(g).parameters.values(), T * B)


def test_one_sequence_and_batch_first():
    net = tt.Network("gru", I, N, num_layers=2, batch_first=True, bidirectional=True, seed=0)
    for x in (drawn((T, I)), drawn((B, T, I))):
        plain, run = both(net, x, 7)
        assert run.output.shape == plain.output.shape
        same(of_gradients(back(run), parameters=False), of_gradients(back(plain), parameters=False))


@pytest.mark.parametrize("T", [0, 1, 2])
@pytest.mark.parametrize("B", [0, 2])
def test_few_steps_and_no_sequences(T, B):
    for options in ({}, {"num_layers": 2, "bidirectional": True}):
        net = tt.Network("lstm", I, N, seed=0, **options)
        for every in (1, 3, "auto"):
            plain, run = both(net, drawn((T, B, I)), every)
            close([run.output, *of_gradients(back(run))], [plain.output, *of_gradients(back(plain))], 2 * B + 1)


def test_products_and_jacobians():
    """To the bit, from whichever times; single numbers of a sum over layers as well."""
    net = tt.Network("gru", I, N, num_layers=2, seed=0)
    plain, run = both(net, drawn((T, B, I)), 7, lengths=[60, 17, 3])
    v, g = drawn((B, 2 * N, 4)), drawn((T, B, N))
    for a, b in ((0, T), (3, 5), (3, 4), (11, 11), (4, 32)):
        same([run.jvp(v, a, b), run.vjp(v, a, b)], [plain.jvp(v, a, b), plain.vjp(v, a, b)])
        same([run.jacobians(a, b)], [plain.jacobians(a, b)])
        u = v[:, :, 0]
        same([run.costates(u, g[a:b], a, b)], [plain.costates(u, g[a:b], a, b)])
        (x, found), (y, expected) = (own.pullback(u, a, b, g[a:b]) for own in (run, plain))
        same([x], [y])
        close(found.values(), expected.values(), T * B)
    same([run.jacobian(9), run.output_cotangent(9, g[0])], [plain.jacobian(9), plain.output_cotangent(9, g[0])])
    same(run.made_with().values(), plain.made_with().values())


def test_the_run_owns_its_parameters():
    net, x = tt.Network("gru", I, N, seed=0), drawn((T, B, I))
    run, g = net.unroll(x, checkpoint=7), drawn((T, B, N), 3)
    expected = run.backprop(g)
    for array in net.parameters.values():
        array[...] = 0
    x[...] = 0
    for again in (run, copy.copy(run), pickle.loads(pickle.dumps(run))):
        assert again.checkpoint == 7
        same(of_gradients(again.backprop(g)), of_gradients(expected))


def test_the_memory_of_long_sequences():
    """What NumPy gives: of 4000 steps of an LSTM the run without keeps 4 K numbers of a unit and step, the run with
    some of 64 steps; both have the input and the output, and g."""
    net, T = tt.Network("lstm", 1, 32, seed=0), 4000
    x, g = np.ones((T, 1, 1)), np.ones((T, 1, 32))
    net.unroll(x[:9], checkpoint=3).backprop(g[:9])
    peaks = []
    for every in (None, 64):
        tt.engine.memory.release()
        tracemalloc.start()
        net.unroll(x, checkpoint=every).backprop(g, states=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    inherent = 8 * T * (32 + 2)  # output; input and its gradient
    activations = 8 * T * 32 * (4 + 2)
    assert peaks[0] > activations
    assert peaks[1] < inherent + 2 * 8 * 32 * (2 * T // 64 + 64 * 12) + (1 << 18)


def test_a_chain_keeps_less_while_it_is_trained(tmp_path):
    def made(**options):
        pieces = [tt.Network("gru", I, N, num_layers=2, seed=0), tt.models.Readout(N, 1, seed=1)]
        return tt.models.Chain(pieces, **options)

    def loss(output, targets, lengths=None, weights=None):
        return 0.5 * ((output - targets) ** 2).sum(), output - targets

    x, y = drawn((T, B, I)), drawn((T, B, 1), 4)
    model, plain = made(checkpoint=7), made()
    found, expected = model.forward_backward(x, y, loss), plain.forward_backward(x, y, loss)
    assert found.value == expected.value
    close([found.gradient], [expected.gradient], T * B)
    assert found.run.networks["0"].checkpoint == 7
    assert found.gradients.networks["0"].states is None
    assert model.unroll(x).networks["0"].checkpoint is None
    for own in (model, plain):
        tt.training.fit(own, [(x, y)] * 3, loss, tt.training.SGD(0.01), steps=3, progress=False)
    close([model.flat], [plain.flat], T * B)
    model.save(tmp_path / "model.tt")
    assert tt.load(tmp_path / "model.tt").checkpoint == 7
    plain.save(tmp_path / "plain.tt")
    assert b"checkpoint" not in (tmp_path / "plain.tt").read_bytes()
    with pytest.raises(ValueError, match="`checkpoint` is 0"):
        made(checkpoint=0)


def test_what_such_a_run_does_not_have():
    net = tt.Network(tt.Rate(leak=0.2), I, N, seed=0)
    run = net.unroll(drawn((T, B, I)), checkpoint=7)
    assert run.checkpoint == 7
    assert net.unroll(drawn((T, B, I))).checkpoint is None
    assert not hasattr(run, "states")
    with pytest.raises(AttributeError, match=r"A run made with `checkpoint` has no attribute `states`; .*net.unroll"):
        run.states  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute `states`"):
        tt.analysis.gradient_norms(run, drawn((T, B, N)))
    for call in (lambda: run.sent(0), run.single_steps, lambda: run.backprop(drawn((T, B, N))).cells):
        with pytest.raises(ValueError, match=r"keeps its states every 7 steps; .* cannot be had of it: .*net.unroll"):
            call()
    same([run.given(0)], [run.input])


def test_what_has_no_meaning_is_refused():
    net, x = tt.Network("tanh", I, N, seed=0), drawn((T, B, I))
    for wrong, error, sentence in (
        (0, ValueError, "`checkpoint` is 0; expected a whole number of at least 1"),
        (-3, ValueError, "expected a whole number of at least 1"),
        ("often", ValueError, '"auto" for about √T'),
        (2.5, TypeError, "`checkpoint` is 2.5 .* expected a whole number"),
        ([3], TypeError, "expected a whole number"),
    ):
        with pytest.raises(error, match=sentence):
            net.unroll(x, checkpoint=wrong)
    assert net.unroll(x, checkpoint=True).checkpoint == net.unroll(x, checkpoint="auto").checkpoint
    assert net.unroll(x, checkpoint=np.True_).checkpoint == net.unroll(x, checkpoint="auto").checkpoint
    assert net.unroll(x, checkpoint=False).checkpoint is net.unroll(x, checkpoint=np.False_).checkpoint is None
    decoder = tt.models.Chain([tt.Network("gru", 2, 3, seed=0)], checkpoint=3)
    with pytest.raises(ValueError, match="without `checkpoint`"):
        tt.models.EncoderDecoder(tt.Network("gru", 2, 3), decoder, tt.models.Attention("dot", 3, 3))


@pytest.mark.parametrize("layers", [{"num_layers": 3}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("options", [{}, {"input": False, "parameters": []}, {"per_sequence": True}], ids=str)
def test_all_time_at_once_and_in_pieces(layers, options, monkeypatch):
    """Without checkpoints, where much passes between layers, time goes back in pieces: the same bits."""
    net = tt.Network("gru", I, N, seed=0, **layers)
    run = net.unroll(drawn((300, 40, I)), lengths=[300, 299, 7, 0] * 10)
    whole, pieces = back(run, **options), []
    monkeypatch.setattr(tt.engine.back, "LARGE", 0)
    in_pieces = tt.engine.stack.in_pieces
    monkeypatch.setattr(tt.engine.stack, "in_pieces", lambda *a, **k: pieces.append(k["piece"]) or in_pieces(*a, **k))
    same(of_gradients(back(run, **options)), of_gradients(whole))
    assert pieces
    assert max(pieces) == 26  # ⌈1024 / 40⌉ steps
