"""Zoneout and recurrent dropout: against a loop in NumPy with the same masks, by complex steps, and what they leave."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from networks import LEAK, library_cell, oracle

import throughtime as tt

CASES = {
    "tanh": (["tanh"], [5]),
    "lstm": (["lstm"], [17]),
    "rate-gru": (["rate", "gru"], [4, 3]),
    "adapting-lstm": (["adapting", "lstm"], [3, 2]),
}
NOISES = ("zoneout", "dropout", "both")
T, B, I = 7, 3, 2


def made(case, **options):
    cells, sizes = CASES[case]
    return tt.Network([library_cell(name) for name in cells], I, sizes, **{"seed": 1, **options})


def noise_of(kind, seed=5):
    zoneout, dropout = tt.Zoneout((0.4, 0.2), seed=seed), tt.RecurrentDropout(0.3, seed=seed + 1)
    return {"zoneout": zoneout, "dropout": dropout, "both": [zoneout, dropout]}[kind]


def masks_of(net, kind, seed=5):
    """The same masks, drawn as the documentation says: layer by layer, direction by direction."""
    zones, drops = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    found = []
    for states, n in zip(net.unit_states, net.hidden_sizes, strict=True):
        of_layer = []
        for _ in range(net.num_directions):
            limits = np.repeat([0.4, 0.2][:states], n)
            kept, heard = np.zeros((T, B, states * n), bool), np.ones((B, n))
            if kind != "dropout":
                kept = zones.random((T, B, states * n)) < limits
            if kind != "zoneout":
                heard = np.where(drops.random((B, n)) < 0.3, 0, 1 / 0.7)
            of_layer.append((kept, heard))
        found.append(of_layer)
    return found


def plain(net, case, masks, parameters, x, start, lengths):
    """One sequence after another: W_hh (m e) is (W_hh diag m) e, and what is kept is put back after every step."""
    outputs, finals = [], []
    lengths = [len(x)] * B if lengths is None else lengths
    for b in range(B):
        given, at, ends = x[:, b : b + 1], 0, []
        for k, name in enumerate(CASES[case][0]):
            cell, n, sends = oracle(name), net.hidden_sizes[k], []
            for d, (kept, heard) in enumerate(masks[k]):
                tail = f"_l{k}" + ("_reverse" if d else "")
                own = [parameters[kind + tail] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
                w = naive.Layer(own[0], own[1] * heard[b], own[2], own[3])
                s = start[b : b + 1, at : at + cell.states * n].astype(complex)
                at += cell.states * n
                send = np.zeros((len(x), 1, n), complex)
                for t in range(lengths[b]) if d == 0 else reversed(range(lengths[b])):
                    old = tuple(s[:, j * n : (j + 1) * n] for j in range(cell.states))
                    new = np.concatenate(cell.step(w, given[t], old, 0.4 if name == "adapting" else LEAK), axis=-1)
                    s = np.where(kept[t, b], s, new)
                    send[t] = cell.emit(tuple(s[:, j * n : (j + 1) * n] for j in range(cell.states)))
                sends.append(send)
                ends.append(s)
            given = np.concatenate(sends, axis=-1)
        outputs.append(given)
        finals.append(np.concatenate(ends, axis=-1))
    return np.concatenate(outputs, axis=1), np.concatenate(finals)


def flat(state):
    rows = []
    for own in state if isinstance(state, list) else [state]:
        parts = own if isinstance(own, tuple) else (own,)
        rows += [part[k] for k in range(len(parts[0])) for part in parts]
    return np.concatenate(rows, axis=-1)


def close(found, expected, dtype="float64"):
    """float64: sums of some hundred rounded products, a few steps; float32: the same of 6e-8."""
    tolerance = {"float64": 1e-11, "float32": 2e-4}[dtype]
    assert np.abs(found - expected).max(initial=0.0) <= tolerance * max(1.0, np.abs(expected).max(initial=0.0))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("lengths", [None, [7, 0, 4]], ids=["whole", "lengths"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])
@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("case", CASES)
def test_oracle(case, kind, bidirectional, lengths, dtype):
    net = made(case, bidirectional=bidirectional, dtype=dtype)
    rng, masks = np.random.default_rng(2), masks_of(net, kind)
    x = rng.standard_normal((T, B, I)).astype(dtype)
    run = net.unroll(x, lengths=lengths, noise=noise_of(kind))
    double, x = {name: value.astype(float) for name, value in net.parameters.items()}, x.astype(float)
    start = np.zeros((B, net.state_size))
    output, final = plain(net, case, masks, double, x, start, lengths)
    close(run.output, output.real, dtype)
    close(flat(run.final_state), final.real, dtype)

    g = rng.standard_normal(output.shape).astype(dtype)
    grads = run.backprop(g, run.final_state)
    at_end = flat(run.final_state).astype(float)
    moves = {name: rng.standard_normal(value.shape) for name, value in double.items()}
    moves |= {"input": rng.standard_normal(x.shape), "start": rng.standard_normal(start.shape)}
    found = {**grads.parameters, "input": grads.input, "start": flat(grads.initial_state)}
    if lengths is not None:
        moves["input"][np.arange(T)[:, None] >= lengths] = 0
    for name, move in moves.items():
        given = {**double, "input": x, "start": start}
        given[name] = given[name] + 1j * naive.TINY * move
        x_moved, start_moved = given.pop("input"), given.pop("start")
        output, final = plain(net, case, masks, given, x_moved, start_moved, lengths)
        expected = ((g * output).sum() + (at_end * final).sum()).imag / naive.TINY
        close((found[name] * move).sum(), expected, dtype)


def test_central_differences():
    """The loss of a run with the same seed again: h² and eps/h at h = 1e-6."""
    net = made("rate-gru")
    rng, h = np.random.default_rng(3), 1e-6
    x, g = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, 3))
    grads = net.unroll(x, noise=noise_of("both")).backprop(g)
    for name, value in net.parameters.items():
        move, kept, at = rng.standard_normal(value.shape), value.copy(), []
        for sign in (1, -1):
            value[...] = kept + sign * h * move
            at.append((g * net.unroll(x, noise=noise_of("both")).output).sum())
        value[...] = kept
        assert (grads.parameters[name] * move).sum() == pytest.approx((at[0] - at[1]) / (2 * h), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", NOISES)
def test_ways_back(kind):
    net = made("adapting-lstm", layer_norm=True)
    rng = np.random.default_rng(4)
    run = net.unroll(rng.standard_normal((T, B, I)), lengths=[7, 3, 5], noise=noise_of(kind))
    g = rng.standard_normal(run.output.shape)
    whole = run.backprop(g)
    each = run.backprop(g, per_sequence=True)
    for other in (run.backprop(g, clip_state=1e9), run.backprop(g, window=T), run.backprop(g, out=run.backprop(2 * g))):
        for name, value in whole.parameters.items():
            close(other.parameters[name], value)
            close(each.parameters[name].sum(0), value)
    u = rng.standard_normal((B, net.state_size))
    single = run.single_steps(2, T).vjp(np.tile(u, (T - 2, 1)), 0, 1).reshape(T - 2, B, -1)
    for t in range(2, T):
        close(single[t - 2], run.vjp(u, t, t + 1))
    several = run.vjp(np.stack([u, 2 * u], axis=2), 1, T)
    close(several[:, :, 0], run.vjp(u, 1, T))
    close(several[:, :, 1], 2 * run.vjp(u, 1, T))


def test_what_is_kept_and_heard():
    net, x = tt.Network("lstm", I, 40, seed=0), np.random.default_rng(6).standard_normal((200, 20, I))
    run = net.unroll(x, noise=tt.Zoneout((0.1, 0.6), seed=0))
    stays = run.states[1:] == run.states[:-1]
    spread = 4 * (0.25 / stays[:, :, :40].size) ** 0.5
    assert abs(stays[:, :, :40].mean() - 0.1) < spread
    assert abs(stays[:, :, 40:].mean() - 0.6) < spread
    lost = net.unroll(x, noise=tt.RecurrentDropout(0.9, seed=0))
    assert not np.array_equal(lost.output, net.unroll(x).output)
    np.testing.assert_array_equal(lost.sent(0), lost.states[:, :, :40])  # the output hears all


def test_draws():
    net, x = made("lstm"), np.random.default_rng(7).standard_normal((T, B, I))
    noise = noise_of("both")
    one, two = (net.unroll(x, noise=noise) for _ in range(2))
    assert not np.array_equal(one.states, two.states)
    assert net.unroll(x, noise=noise_of("both")).states.tobytes() == one.states.tobytes()
    generator = np.random.default_rng(5)
    assert tt.Zoneout(0.1, seed=generator).generator is generator
    bare = net.unroll(x)
    for nothing in (None, [], tt.Zoneout(0), [tt.Zoneout(0.0), tt.RecurrentDropout(0.0)]):
        np.testing.assert_allclose(net.unroll(x, noise=nothing).states, bare.states, rtol=0, atol=1e-15)
    narrow = made("lstm", dtype="float32").unroll(x, noise=noise_of("both"))
    np.testing.assert_allclose(narrow.states, one.states, atol=1e-5)  # the same masks


def test_nan_that_was_never_taken_stays_out():
    net = tt.Network("relu", 1, 3, seed=0)
    x = np.zeros((4, 2, 1))
    x[1, 0] = np.inf
    run = net.unroll(x, noise=tt.Zoneout(0.5, seed=3))
    assert np.isfinite(run.states[:, 1]).all()


def test_the_bits_do_not_depend_on_threads():
    net, rng = tt.Network(["gru", "lstm"], 3, [65, 33], seed=0), np.random.default_rng(8)
    x, found, before = rng.standard_normal((7, 33, 3)), [], tt.get_num_threads()
    try:
        for threads in (1, 2):
            tt.set_num_threads(threads)
            run = net.unroll(x, noise=noise_of("both"))
            found.append((run.states, run.backprop(np.ones_like(run.output)).parameters["weight_hh_l1"]))
    finally:
        tt.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert one.tobytes() == two.tobytes()


def test_what_has_no_meaning_is_refused():
    net, x = made("tanh"), np.ones((T, B, I))
    run = net.unroll(x, noise=tt.Zoneout(0.1))
    v = np.ones((B, net.state_size))
    for call in (
        lambda: run.jvp(v, 0, 1),
        lambda: run.jacobian(1),
        lambda: run.jacobians(),
        lambda: run.derivatives(0),
        lambda: tt.analysis.jacobian_spectrum(run, [1]),
        lambda: tt.analysis.gradient_by_lag(run, np.ones_like(run.output)),
    ):
        with pytest.raises(ValueError, match="made with `noise`, for training"):
            call()
    leaky = made("rate-gru").unroll(x, noise=tt.Zoneout(0.1)).backprop(np.ones((T, B, 3)))
    with pytest.raises(ValueError, match="made with `noise`, for training"):
        _ = leaky.cells
    for noise, error, words in (
        (0.1, TypeError, r"`noise` is 0.1 .*expected `tt.Zoneout\(rate\)`"),
        ([tt.Zoneout(0.1), tt.Zoneout(0.1)], ValueError, "two of one kind"),
        (tt.Zoneout, TypeError, "`noise` is "),
    ):
        with pytest.raises(error, match=words):
            net.unroll(x, noise=noise)
    with pytest.raises(ValueError, match="`rate` has 1 values, but a unit of this network has 2 states"):
        made("lstm").unroll(x, noise=tt.Zoneout((0.1,)))
    for kind in (tt.Zoneout, tt.RecurrentDropout):
        with pytest.raises(ValueError, match="expected less than 1"):
            kind(1.0)
        with pytest.raises(ValueError, match="at least 0"):
            kind(-0.1)
        with pytest.raises(TypeError, match="expected a real number"):
            kind("0.1")
    with pytest.raises(ValueError, match="`rate` is empty"):
        tt.Zoneout(())


def test_a_chain_draws_while_it_is_trained():
    def make():
        noise = [tt.Zoneout(0.2, seed=1), tt.RecurrentDropout(0.3, seed=2)]
        return tt.models.Chain([tt.Network("gru", 2, 6, seed=0), tt.models.Readout(6, 1, seed=0)], noise=noise)

    model, rng = make(), np.random.default_rng(9)
    x, y = rng.standard_normal((T, B, 2)), rng.standard_normal((T, B, 1))
    assert model.predict(x).tobytes() == model.predict(x).tobytes()
    bare = tt.models.Chain([tt.Network("gru", 2, 6, seed=0), tt.models.Readout(6, 1, seed=0)])
    assert model.predict(x).tobytes() == bare.predict(x).tobytes()
    loss = tt.training.mean_squared_error
    values = [model.value_and_gradient(x, y, loss)[0] for _ in range(3)]
    assert len(set(values)) == 3
    assert make().value_and_gradient(x, y, loss)[0] == values[0]
    assert list(model.generators) == ["noise.Zoneout", "noise.RecurrentDropout"]
    _, gradient = make().value_and_gradient(x, y, loss)
    move, h, at = rng.standard_normal(gradient.shape), 1e-6, []
    for sign in (1, -1):  # central differences under the same masks: h² and eps/h
        own = make()
        own.flat[...] += sign * h * move
        at.append(own.value_and_gradient(x, y, loss)[0])
    assert (gradient * move).sum() == pytest.approx((at[0] - at[1]) / (2 * h), rel=1e-6)
    run = model.unroll(x).networks["0"]
    assert run.jacobian(1).shape == (B, 6, 6)  # analyses are without


def test_a_kept_model_goes_on_drawing(tmp_path):
    pieces = [tt.Network("lstm", 2, 4, seed=0), tt.models.Readout(4, 1, seed=0)]
    model, rng = tt.models.Chain(pieces, noise=tt.Zoneout((0.05, 0.5), seed=1)), np.random.default_rng(10)
    x, y = rng.standard_normal((T, B, 2)), rng.standard_normal((T, B, 1))
    model.value_and_gradient(x, y, tt.training.mean_squared_error)
    model.save(tmp_path / "model.tt")
    other = tt.load(tmp_path / "model.tt")
    assert repr(other.noise) == repr(model.noise)
    ours, theirs = (own.value_and_gradient(x, y, tt.training.mean_squared_error) for own in (model, other))
    assert ours[0] == theirs[0]
    assert ours[1].tobytes() == theirs[1].tobytes()


def test_fit_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path):
    task = tt.tasks.Adding(length=6)

    def make():
        pieces = [tt.Network("gru", task.inputs, 5, seed=0), tt.models.last, tt.models.Readout(5, task.outputs, seed=0)]
        return tt.models.Chain(pieces, noise=[tt.Zoneout(0.1, seed=1), tt.RecurrentDropout(0.2, seed=2)])

    def trained(model, steps, **options):
        return tt.training.fit(
            model, task.batches(4, seed=0), task.loss, tt.training.Adam(0.01), steps=steps, **options
        )

    whole = make()
    trained(whole, 6)
    half, place = make(), tmp_path / "half.tt"
    trained(half, 3, checkpoint=place)
    again = make()
    trained(again, 6, checkpoint=place)
    assert whole.flat.tobytes() == again.flat.tobytes()


def test_chains_that_take_no_noise():
    with pytest.raises(ValueError, match="for networks among the pieces"):
        tt.models.Chain([tt.models.Readout(2, 2)], noise=tt.Zoneout(0.1))
    with pytest.raises(TypeError, match=r"`noise` is 0\.1"):
        tt.models.Chain([tt.Network("gru", 2, 2)], noise=0.1)
