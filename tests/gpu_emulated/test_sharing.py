"""What several runs share, and memory that others hold: of streams that are gone, of views, pinned, backwards."""

from __future__ import annotations

import copy
import gc
import pickle
from types import SimpleNamespace

import driver
import numpy as np
import pytest
from cuda.bindings import driver as binding
from numba import cuda
from test_driver import stream
from test_host import Array, B, I, N, T, close, numbers, settled

import throughtime as tt
from throughtime.engine.cuda import arrays, device, streams


def test_the_stream_of_the_first_run_may_be_gone():
    """Streams of CuPy end with their Python objects; copies of parameters that the first run made go on."""
    x, g, net = numbers(T, B, I), numbers(T, B, N), tt.Network("lstm", I, N, seed=1)
    wanted, there = net.unroll(x).backprop(g), net.to("cuda")
    _, handle = binding.cuStreamCreate(1)
    first = there.unroll(Array(x, cuda.external_stream(int(handle))))
    first.backprop(g)
    binding.cuStreamSynchronize(handle)
    del first
    gc.collect()
    assert not binding.cuStreamDestroy(handle)[0]
    for at in (stream(blocking=False), stream(blocking=True)):
        run = there.unroll(Array(x, at))
        close(run.backprop(g).input, wanted.input, at=at)
    close(there.unroll(x).backprop(g).input, wanted.input)


def test_views_of_one_memory_are_told_apart():
    """Rows 0 to 4N of a matrix and every second of its rows have one address and one shape."""
    x, net = numbers(T, B, I), tt.Network("lstm", I, N, seed=1)
    there, host = net.to("cuda"), 0.1 * numbers(8 * N, N)
    both = device.to_device(host)
    for rows in (np.s_[: 4 * N], np.s_[::2]):
        there.parameters["weight_hh_l0"] = both[rows]
        net.parameters["weight_hh_l0"][...] = host[rows]
        close(there.unroll(x).output, net.unroll(x).output)


def test_an_array_bound_to_another_stream_keeps_the_home_of_its_memory():
    """The emulated driver complains where what one stream reads is overwritten by another that does not wait."""
    here, there = stream(blocking=False), stream(blocking=False)
    with streams.on(here):
        own = arrays.zeros((1000,), np.float64)
    cuda.synchronize()
    bound = own.bind(there)
    del own
    with streams.on(there):
        taken = device.wrap(bound)
        read = arrays.copy(taken)
    assert bound.owner.abroad
    del taken, bound
    gc.collect()
    with streams.on(here):
        again = arrays.zeros((1000,), np.float64)
    assert (again.size, read.size) == (1000, 1000)


def test_arrays_are_copied_as_numbas_are(capfd):
    array = device.to_device(numbers(3, 4))
    np.testing.assert_array_equal(copy.copy(array).copy_to_host(), numbers(3, 4))
    for way in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither pickled nor copied deeply"):
            way(array)
    gc.collect()
    assert "Lease" not in capfd.readouterr().err  # an unfinished one has nothing to give back


def test_pinned_memory_is_read_before_the_call_is_over(monkeypatch):
    """The driver reads it when the stream has come so far, when its owner may have written other numbers there."""
    x, sources = numbers(3, 4000), []
    send = binding.cuMemcpyHtoDAsync

    def seen(to, source, *rest):
        sources.append(source)
        return send(to, source, *rest)

    monkeypatch.setattr(binding, "cuMemcpyHtoDAsync", seen)
    device.to_device(x)
    assert sources.pop() == x.ctypes.data
    device.to_device(x[0, :4])
    assert sources.pop() != x.ctypes.data
    monkeypatch.setattr(binding, "cuPointerGetAttributes", lambda *_: (binding.CUresult.CUDA_SUCCESS, [1]))
    there = device.to_device(x)
    assert sources.pop() != x.ctypes.data
    np.testing.assert_array_equal(there.copy_to_host(), x)


def test_an_axis_that_runs_backwards_is_refused():
    own = cuda.to_device(numbers(T, B, I))
    interface = own.__cuda_array_interface__
    data = interface["data"][0] + (T - 1) * B * I * 8
    strides = (-B * I * 8, I * 8, 8)
    x = SimpleNamespace(own=own, __cuda_array_interface__=interface | {"data": (data, False), "strides": strides})
    net = tt.Network("lstm", I, N, seed=1).to("cuda")
    with pytest.raises(ValueError, match="runs backwards"):
        net.unroll(x)
    run = net.unroll(numbers(T, B, I))
    with pytest.raises(ValueError, match="runs backwards"):
        run.backprop(run.output[::-1])


def test_what_others_lend_is_read_on_their_stream(monkeypatch):
    """PyTorch's arrays name no stream. The emulated driver complains where the copy does not wait for the numbers."""
    x, at = numbers(T, B, I), stream(blocking=False)
    tensor = Array(x, at)
    named = {**tensor.__cuda_array_interface__, "stream": None}
    given = SimpleNamespace(tensor=tensor, __cuda_array_interface__=named)
    for module in (device, arrays):
        monkeypatch.setattr(module, "stream_of", lambda array: at if array is given else streams.stream_of(array))
    run = tt.Network("lstm", I, N, seed=1).to("cuda").unroll(given)
    tensor.write(x)  # queued behind the run
    close(run.input, x)


def test_what_is_released_goes_to_the_driver_at_once():
    """Numba puts off up to ten pieces, or a fifth of the device's memory."""
    settled()
    array = device.empty(1000, np.float64)
    held = driver.allocations()
    del array
    assert driver.allocations() == held
    tt.release_memory()
    assert driver.allocations() == held - 1
