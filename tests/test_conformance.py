"""The identities that every cell obeys: the library's and a user's, in both precisions, in one layer and in several.

Tolerances are c·eps·scale. With gains about 1 over 5 or 6 steps of networks of a few units, each number is the end of
some 30 roundings (products, sums, scalar functions of up to 4 ulp); c = 200 lets them add up badly, and a wrong term is
10^10 times larger.
"""

from __future__ import annotations

import naive
import numpy as np
import pytest
from networks import CELLS, LIBRARY, everything, from_functions, problem

C = 200
EPS = {"float64": np.finfo(np.float64).eps, "float32": np.finfo(np.float32).eps}
CELL = pytest.mark.parametrize("cell", CELLS)
DTYPE = pytest.mark.parametrize("dtype", ["float64", "float32"])
LAYERS = pytest.mark.parametrize("layers", [1, 2])
LENGTHS = [4, 0, 6, 1]


def close(ours, theirs, dtype="float64", what="", scale=None):
    assert ours.shape == theirs.shape, what
    # 1e-3: an array that is all rounding has no scale of its own
    scale = max(np.abs(theirs).max(initial=0), 1e-3) if scale is None else scale
    error = np.abs(ours.astype(np.float64) - theirs).max(initial=0)
    assert error <= C * EPS[dtype] * scale, f"{what}: error {error:.1e} beside {scale:.1e}"


def directions(p, columns=None, seed=1):
    """Random v and u, (B, S) or (B, S, K)."""
    rng = np.random.default_rng(seed)
    shape = p.start.shape if columns is None else (*p.start.shape, columns)
    return rng.standard_normal(shape).astype(p.start.dtype), rng.standard_normal(shape).astype(p.start.dtype)


@pytest.mark.parametrize("name", naive.CELLS)
def test_an_oracle_made_of_a_cell_is_the_one_written_for_it(name):
    """What a cell without an oracle of its own is held against; and the formula of each cell beside the textbook's."""
    rng = np.random.default_rng(0)
    cell, made = naive.CELLS[name], from_functions(LIBRARY[name]())
    w = naive.layer(cell, {key: rng.standard_normal(shape) for key, shape in naive.shapes(cell, 2, 3).items()})
    u = rng.standard_normal((4, 2))
    s = tuple(rng.standard_normal((4, 3)) + 1j * naive.TINY for _ in range(cell.states))
    assert (made.gates, made.states) == (cell.gates, cell.states)
    for ours, theirs in zip(made.step(w, u, s, 0.1), cell.step(w, u, s, 0.1), strict=True):
        close(ours.real, theirs.real)
        close(ours.imag / naive.TINY, theirs.imag / naive.TINY)
    close(made.emit(s).real, cell.emit(s).real)


def side(cell, p, states):
    """On which side of its kink each unit is at each step, for the cells that have one."""
    if cell in ("relu", "ind_rnn"):
        return states > 0
    if cell != "slstm":
        return np.array(True)
    found, plain, inputs = [], p.plain, p.x
    for k in range(plain.num_layers):
        block = states[..., k * plain.block : (k + 1) * plain.block]
        parts = [np.split(s, plain.cell.states, axis=-1) for s in block]
        found += [naive.slstm_stays(plain.layer(k, False), u, s) for u, s in zip(inputs, parts, strict=False)]
        inputs = [s[0] for s in parts[1:]]
    return np.array(found)


@LAYERS
@CELL
def test_tangent_against_central_differences(cell, layers):
    for seed in range(200):
        p = problem(cell, 5, 2, 3, 4, layers=layers, seed=seed)
        v, _ = directions(p)

        def moved(size, p=p, v=v):
            return p.net.unroll(p.x, state=naive.unflatten(p.plain, p.start + size * v)).states

        run = p.unroll()
        # A piece without a kink, so that no unit switches anywhere between the two displaced runs.
        on = [side(cell, p, moved(size)) for size in (-0.02, -0.01, 0, 0.01, 0.02)]
        if all((other == on[0]).all() for other in on):
            break
    else:
        pytest.fail("no seed below 200 keeps every unit on its side of the kink")
    tangent = run.jvp(v, 0, 5)

    def error(size):
        return np.abs((moved(size)[-1] - moved(-size)[-1]) / (2 * size) - tangent).max()

    sizes = 0.02 * 0.5 ** np.arange(5)
    errors = np.array([error(size) for size in sizes])
    # Where the steps are linear in the state: exact but for rounding, which the division by the step enlarges.
    if not (errors <= C * EPS["float64"] * np.abs(run.states).max() / sizes).all():
        slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
        assert slope == pytest.approx(2, abs=0.2), errors


@DTYPE
@LAYERS
@CELL
def test_adjoint_is_the_transpose(cell, layers, dtype):
    p = problem(cell, 6, 4, 3, 5, layers=layers, dtype=dtype, lengths=LENGTHS)
    run = p.unroll()
    for columns, (start, stop) in ((None, (0, 6)), (3, (1, 5)), (1, (2, 3)), (2, (4, 4))):
        v, u = directions(p, columns)
        jv, ju = run.jvp(v, start, stop), run.vjp(u, start, stop)
        assert jv.shape == v.shape
        assert ju.shape == u.shape
        left, right = (u.astype(np.float64) * jv).sum(1), (ju.astype(np.float64) * v).sum(1)
        scale = np.linalg.norm(u, axis=1) * np.linalg.norm(jv, axis=1) + np.linalg.norm(ju, axis=1) * np.linalg.norm(
            v, axis=1
        )
        assert (np.abs(left - right) <= C / 4 * EPS[dtype] * scale).all()


@DTYPE
@LAYERS
@CELL
def test_jacobian_is_jvp_by_columns_and_vjp_by_rows(cell, layers, dtype):
    p = problem(cell, 6, 4, 3, 5, layers=layers, dtype=dtype, lengths=LENGTHS)
    run = p.unroll()
    size = p.plain.state_size
    eye = np.broadcast_to(np.eye(size, dtype=dtype), (4, size, size))
    truth, _, _ = naive.jacobians(p.plain, *(a.astype(np.float64) for a in (p.x, run.states)), p.lengths)
    product = eye
    for t in range(1, 7):
        jacobian = run.jacobian(t)
        assert jacobian.dtype == np.dtype(dtype)
        close(jacobian, truth[t - 1], dtype, "jacobian")
        close(run.jvp(eye, t - 1, t), jacobian, dtype, "jvp")
        close(run.vjp(eye, t - 1, t).transpose(0, 2, 1), jacobian, dtype, "vjp")
        product = jacobian @ product
    close(run.jvp(eye, 0, 6), product, dtype, "jvp over the window")
    close(run.vjp(eye, 0, 6).transpose(0, 2, 1), product, dtype, "vjp over the window")
    over = [0, 1, 3]  # these sequences have ended: identity, exactly
    np.testing.assert_array_equal(run.jacobian(6)[over], eye[over])


def against_oracle(p, dtype, window=None):
    run = p.unroll()
    grads = p.backprop(run, window)
    plain = naive.unroll(*p.oracle()[:4])
    close(run.states, plain.states, dtype, "states")
    close(run.output, plain.output, dtype, "output")
    close(naive.flatten(p.plain, run.final_state), plain.final, dtype, "final state")
    bidirectional = p.plain.bidirectional
    truth = naive.gradients(*p.oracle()) if bidirectional else naive.bptt(*p.oracle(), window=window)
    scale = max(np.abs(value).max() for value in truth.parameters.values())
    assert grads.parameters.keys() == truth.parameters.keys()
    for name, value in truth.parameters.items():
        close(grads.parameters[name], value, dtype, name, scale)
    close(grads.input, truth.input, dtype, "input")
    close(naive.flatten(p.plain, grads.initial_state), truth.start, dtype, "initial state")
    if not bidirectional:  # the last layer's; those of all layers have a test of their own below
        last = slice(-p.plain.block, None)
        close(grads.states[..., last], truth.states[..., last], dtype, "dL/dstates")


@DTYPE
@pytest.mark.parametrize("layers", [1, 2, 3])
@CELL
def test_backprop_against_the_oracle(cell, layers, dtype):
    against_oracle(problem(cell, 6, 4, 2, 3, layers=layers, dtype=dtype, lengths=LENGTHS), dtype)


@LAYERS
@CELL
def test_both_directions_against_the_oracle(cell, layers):
    against_oracle(problem(cell, 6, 4, 2, 3, layers=layers, lengths=LENGTHS, bidirectional=True), "float64")


@CELL
def test_without_biases_against_the_oracle(cell):
    against_oracle(problem(cell, 5, 2, 2, 3, layers=2, bias=False), "float64")


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
@CELL
def test_truncated_backprop_against_the_oracle(cell, layers, window):
    lengths = None if window == 2 else LENGTHS
    against_oracle(problem(cell, 6, 4, 2, 3, layers=layers, lengths=lengths), "float64", window)


@DTYPE
@LAYERS
@CELL
def test_a_window_of_all_steps_is_no_window(cell, layers, dtype):
    p = problem(cell, 6, 4, 3, 5, layers=layers, dtype=dtype, lengths=LENGTHS)
    run = p.unroll()
    full = everything(p, run)
    for window in (6, 1000):
        for name, value in everything(p, run, window).items():
            close(value, full[name], dtype, name)


@LAYERS
@CELL
def test_gradient_of_each_state_is_the_adjoint_of_the_losses_after_it(cell, layers):
    """With a loss on the final state alone, dL/ds_t = (ds_T/ds_t)ᵀ dL/ds_T: the state of all layers is one point."""
    p = problem(cell, 6, 4, 3, 5, layers=layers, lengths=LENGTHS)
    run = p.unroll()
    grads = run.backprop(grad_final_state=naive.unflatten(p.plain, p.grad_final))
    for t in range(7):
        close(grads.states[t], run.vjp(p.grad_final, t, 6), "float64", f"t = {t}")


@DTYPE
@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
@CELL
def test_a_batch_equals_its_sequences(cell, bidirectional, dtype):
    p = problem(cell, 6, 4, 3, 5, layers=2, dtype=dtype, lengths=LENGTHS, bidirectional=bidirectional)
    whole = everything(p)
    total = {}
    for b in range(4):
        end, one = LENGTHS[b], slice(b, b + 1)
        # Alone, without padding and without `lengths`.
        rest = {"grad_output": p.grad_output[:end, one], "grad_final": p.grad_final[one], "lengths": None}
        single = everything(p._replace(x=p.x[:end, one], start=p.start[one], **rest))
        for name, value in single.items():
            if name.startswith("gradient of ") and name.removeprefix("gradient of ") in p.net.parameters:
                total[name] = total.get(name, 0) + value
                continue
            batched = whole[name][one] if name in ("final", "gradient of state") else whole[name][:, one]
            if name == "states":
                assert (batched[end:] == batched[end : end + 1]).all()  # frozen beyond its end
            close(batched[: len(value)], value, dtype, name)
    scale = max(np.abs(value).max() for value in total.values())
    for name, value in total.items():
        close(whole[name], value, dtype, name, scale)


@DTYPE
@LAYERS
@CELL
def test_two_halves_equal_the_whole(cell, layers, dtype):
    p = problem(cell, 6, 4, 3, 5, layers=layers, dtype=dtype)
    whole = everything(p)
    first = p.net.unroll(p.x[:2], state=p.state)
    second = p.net.unroll(p.x[2:], state=first.final_state)
    late = second.backprop(p.grad_output[2:], naive.unflatten(p.plain, p.grad_final))
    early = first.backprop(p.grad_output[:2], late.initial_state)
    close(np.concatenate([first.output, second.output]), whole["output"], dtype, "output")
    close(np.concatenate([first.states, second.states[1:]]), whole["states"], dtype, "states")
    close(naive.flatten(p.plain, second.final_state), whole["final"], dtype, "final state")
    close(np.concatenate([early.input, late.input]), whole["gradient of input"], dtype, "gradient of input")
    # At the seam the first half adds the loss on its own last output to what comes back from the second.
    close(np.concatenate([early.states, late.states[1:]]), whole["dL/dstates"], dtype, "dL/dstates")
    close(naive.flatten(p.plain, early.initial_state), whole["gradient of state"], dtype, "gradient of state")
    scale = max(np.abs(value).max() for value in late.parameters.values())
    for name in p.net.parameters:
        close(early.parameters[name] + late.parameters[name], whole[f"gradient of {name}"], dtype, name, scale)
