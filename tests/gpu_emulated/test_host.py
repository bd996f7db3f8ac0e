"""The library's own way to a device: streams, arrays of other libraries, what is kept and what is given back."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import driver
import numpy as np
import pytest
from cuda.core.utils import StridedMemoryView
from numba import cuda
from test_driver import stream

import throughtime as tt
from throughtime.engine.cuda import device, plans, pool

with mock.patch.object(sys, "path", [str(Path(__file__).parents[1] / "gpu_sim"), *sys.path]):
    import wired

T, B, I, N = 4, 2, 3, 5


class Array:
    """An array of another library, such as CuPy's: its numbers are queued on a stream, which it names."""

    def __init__(self, numbers, at):
        self.own = cuda.device_array(numbers.shape, numbers.dtype)
        self.stream, self.numbers = at, numbers
        self.write(numbers)

    def write(self, numbers):
        """Queued: nobody waits for it."""
        cuda.to_device(np.ascontiguousarray(numbers), stream=self.stream, to=self.own)

    @property
    def __cuda_array_interface__(self):
        return {**self.own.__cuda_array_interface__, "stream": int(self.stream.handle)}


class Exchanged:
    """One that offers DLPack alone, and is on a stream of which it tells nobody, such as PyTorch's."""

    def __init__(self, numbers, at):
        self.array = Array(numbers, at)
        self.asked = []

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream=None, **options):
        self.asked.append(stream)
        if stream != -1:  # the consumer's stream has to wait
            event = cuda.event()
            event.record(self.array.stream)
            event.wait(cuda.external_stream(stream) if stream else 0)
        return StridedMemoryView.from_any_interface(self.array.own, stream_ptr=-1).__dlpack__(**options)


@pytest.fixture(params=["blocking", "not blocking"])
def other(request):
    """A stream of another library; PyTorch's do not wait for the default one, nor it for them."""
    return stream(blocking=request.param == "blocking")


@pytest.fixture
def net():
    return tt.Network("lstm", I, N, seed=1)


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def close(found, wanted, at=0):
    found = found if isinstance(found, np.ndarray) else found.copy_to_host(stream=at)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def all_of_a_run(run):
    """Everything that a run can be asked for, by name."""
    v, g = numbers(B, run.network.state_size, 2), numbers(T, B, N)
    grads = run.backprop(g, run.final_state)
    found = {"output": run.output, "states": run.states, "jvp": run.jvp(v, 0, T), "vjp": run.vjp(v, 1, T)}
    found |= {"jacobian": run.jacobian(2), "jacobians": run.jacobians(1), "dinput": grads.input}
    found |= {"cotangent": run.output_cotangent(2, g[1]), "dstates": grads.states, **grads.parameters}
    found |= {"jvp of one": run.jvp(v[:, :, 0], 0, T), "vjp of one": run.vjp(v[:, :, 0], 1, T)}
    cut = run.backprop(g, run.final_state, window=2)
    found |= {"cut dinput": cut.input, "cut dstates": cut.states}
    found |= {f"cut {name}": value for name, value in cut.parameters.items()}
    return found | {f"final {k}": part for k, part in enumerate(run.final_state)}


# -------------------------------------------------------------------------------------------------------- streams


def test_a_run_goes_through_the_stream_of_its_input(net, other):
    x = numbers(T, B, I)
    wanted, there = net.unroll(x), net.to("cuda")
    run = there.unroll(Array(x, other))
    assert int(run.stream.handle) == int(other.handle)
    found, expected = all_of_a_run(run), all_of_a_run(wanted)
    for name, value in found.items():
        close(value, expected[name], at=other)
    named = {name: value.__cuda_array_interface__["stream"] for name, value in found.items()}
    assert not [name for name, handle in named.items() if handle != int(other.handle)]


def test_parameters_that_were_just_loaded(net, other):
    x, there = numbers(T, B, I), net.to("cuda")
    there.load_state_dict(tt.Network("lstm", I, N, seed=3).state_dict())
    close(there.unroll(Array(x, other)).output, tt.Network("lstm", I, N, seed=3).unroll(x).output, at=other)


@pytest.mark.parametrize("name", ["everything", "no product"])
def test_cells_that_are_not_plain(monkeypatch, other, name):
    """Their arrays come to the kernels in tuples; blocks meet across the grid, whose size is asked of the device."""
    grid = plans.Plan(alone=False, resident=True, lanes=8, units=1, groups=4, rows=2)
    monkeypatch.setattr(plans, "plan", lambda *_: grid)
    net, x, g = tt.Network(wired.WIRED[name](N), I, N, seed=1), numbers(T, B, I), numbers(T, B, N)
    own, start, ends = net.layer(0), np.zeros((B, net.state_size)), np.full(B, T)
    run = net.to("cuda").unroll(Array(x, other))
    close(run.output, wired.run(net.cell, own, x, start, ends)[1], at=other)
    found = run.backprop(g).parameters
    assert {value.__cuda_array_interface__["stream"] for value in found.values()} == {int(other.handle)}
    wanted = wired.gradients(lambda *own: (g * wired.run(net.cell, own, x, start, ends)[1]).sum(), own)
    given = [value for value in wanted if value.size]  # without a product there are no weights and biases of one
    for key, value in zip(net.parameters, given, strict=True):
        close(found[key], value, at=other)
    v, matrices = numbers(B, net.state_size), run.jacobians(0, T).copy_to_host(stream=other)
    product = v
    for matrix in matrices:
        product = np.einsum("bij,bj->bi", matrix, product)
    close(run.jvp(v, 0, T), product, at=other)


@pytest.mark.parametrize("kind", [Array, Exchanged])
def test_gradients_and_states_from_another_stream_than_the_input(net, other, kind):
    x, g, h, c = numbers(T, B, I), numbers(T, B, N), numbers(1, B, N), numbers(1, B, N)
    here, there = stream(blocking=False), net.to("cuda")
    wanted = net.unroll(x, state=(h, c))
    run = there.unroll(Array(x, here), state=(kind(h, other), kind(c, other)))
    close(run.output, wanted.output, at=here)
    close(run.backprop(kind(g, other)).input, wanted.backprop(g).input, at=here)
    close(run.backprop(g, (kind(h, other), c)).input, wanted.backprop(g, (h, c)).input, at=here)
    v = numbers(B, 2 * N)
    close(run.jvp(kind(v, other), 0, T), wanted.jvp(v, 0, T), at=here)
    close(run.vjp(kind(v, other), 0, T), wanted.vjp(v, 0, T), at=here)


def test_the_output_of_one_run_is_the_input_of_the_next(net, other):
    x, above = numbers(T, B, I), tt.Network("gru", N, N, seed=2)
    first = net.to("cuda").unroll(Array(x, other))
    second = above.to("cuda").unroll(first.output)
    wanted = net.unroll(x)
    close(second.output, above.unroll(wanted.output).output, at=other)
    back = second.backprop(numbers(T, B, N))
    between = above.unroll(wanted.output).backprop(numbers(T, B, N)).input
    close(first.backprop(back.input).input, wanted.backprop(between).input, at=other)


@pytest.mark.parametrize("named", [None, 1, 2])
def test_the_default_streams(net, named):
    x = numbers(T, B, I)
    given = Array(x, cuda.default_stream())
    interface = {**given.own.__cuda_array_interface__, "stream": named}
    run = net.to("cuda").unroll(type("Own", (), {"__cuda_array_interface__": interface, "own": given})())
    close(run.output, net.unroll(x).output)


def test_arrays_through_dlpack(net, other):
    x, g = numbers(T, B, I), numbers(T, B, N)
    given = Exchanged(x, other)
    run = net.to("cuda").unroll(given)
    assert given.asked == [1]  # the legacy default stream, as DLPack counts
    close(run.output, net.unroll(x).output)
    close(run.backprop(Exchanged(g, other)).input, net.unroll(x).backprop(g).input)


def test_numbers_that_are_overwritten_after_the_call(net, other):
    """Who lends an array may change it on its own stream as soon as the call has returned."""
    x, g, here = numbers(T, B, I), numbers(T, B, N), stream(blocking=False)
    lent = Array(g, other)
    run = net.to("cuda").unroll(Array(x, here))
    found = run.backprop(lent)
    lent.write(np.zeros_like(g))
    close(found.input, net.unroll(x).backprop(g).input, at=here)


def test_pytorchs_current_stream(net, other, monkeypatch):
    """PyTorch's tensors do not say on which stream they are made."""

    class Tensor:
        device = "cuda:0"

        def __init__(self, own):
            self.__cuda_array_interface__ = {**own.__cuda_array_interface__, "stream": None, "version": 2}
            self.own = own

    torch = SimpleNamespace(
        Tensor=Tensor,
        cuda=SimpleNamespace(current_stream=lambda where: SimpleNamespace(cuda_stream=int(other.handle))),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    x, g = numbers(T, B, I), numbers(T, B, N)
    run = net.to("cuda").unroll(Tensor(Array(x, other).own))
    close(run.backprop(Tensor(Array(g, other).own)).input, net.unroll(x).backprop(g).input, at=other)


def test_strided_arrays(net):
    wide = cuda.to_device(numbers(T, B, 2 * I))
    close(net.to("cuda").unroll(wide[:, :, I:]).output, net.unroll(numbers(T, B, 2 * I)[:, :, I:]).output)


# ------------------------------------------------------------------------------------------------------- analyses


def test_analyses_on_another_stream(net, other):
    x, g = numbers(T, B, I), numbers(T, B, N)
    wanted, run = net.unroll(x), net.to("cuda").unroll(Array(x, other))
    for name in ("gradient_norms", "gradient_by_lag"):
        ask = getattr(tt.analysis, name)
        a, b = ask(wanted, g), ask(run, g)
        close(b.log_norm, a.log_norm)
    a, b = (tt.analysis.product_singular_values(r, 0, T) for r in (wanted, run))
    close(b.log_singular_values, a.log_singular_values)


# ---------------------------------------------------------------------------------------------------- what is kept


def settled():
    gc.collect()
    pool.release()
    cuda.current_context().memory_manager.deallocations.clear()
    return driver.allocations()


def test_nothing_is_left_of_a_run(net):
    there, x = net.to("cuda"), numbers(T, B, I)
    all_of_a_run(there.unroll(x))
    before = settled()
    for _ in range(3):
        run = there.unroll(x)
        all_of_a_run(run)
        tt.analysis.gradient_by_lag(run, numbers(T, B, N))
        tt.analysis.lyapunov_spectrum(there, x)
    del run
    assert settled() == before
    del there
    assert settled() < before


def test_the_input_lives_as_long_as_the_run(net):
    there, x = net.to("cuda"), numbers(T, B, I)
    run = there.unroll(Array(x, stream(blocking=False)))
    settled()
    close(run.backprop(numbers(T, B, N)).input, net.unroll(x).backprop(numbers(T, B, N)).input, at=run.stream)


def test_results_live_without_their_run(net):
    x = numbers(T, B, I)
    output = net.to("cuda").unroll(x).output
    view = output[1]
    del output
    settled()
    close(view, net.unroll(x).output[1])


def test_a_device_can_be_used():
    device.require()
    assert device.available()


def test_an_old_device_is_refused_in_words(monkeypatch):
    net = tt.Network("tanh", I, N, seed=0)
    monkeypatch.setattr(device.cuda, "get_current_device", lambda: SimpleNamespace(compute_capability=(7, 5)))
    with pytest.raises(RuntimeError, match=r"compute capability 7\.5; the kernels need 8\.0 or later"):
        net.to("cuda")
