"""The library's own memory of the device (pool.py), its arrays (device_array.py) and launches (launches.py)."""

from __future__ import annotations

import gc

import driver
import numpy as np
import pytest
from numba import cuda
from numba.cuda.cudadrv import dummyarray
from numba.cuda.cudadrv.driver import CudaAPIError
from test_driver import stream
from test_host import Array, B, I, N, T, all_of_a_run, close, numbers, settled

import throughtime as tt
from throughtime.engine.cuda import device, launches, pool, streams


@pytest.fixture(autouse=True)
def _nothing_idle():
    gc.collect()
    pool.release()


@pytest.fixture
def new(monkeypatch):
    """The sizes for which the driver has been asked for memory."""
    asked, make = [], pool._new
    monkeypatch.setattr(pool, "_new", lambda size, home: (asked.append(size), make(size, home))[1])
    return asked


# --------------------------------------------------------------------------------------------------------- arrays

CUTS = [
    np.s_[1], np.s_[-1], np.s_[1:], np.s_[:-1], np.s_[:, 1:3], np.s_[:, :, 2:4], np.s_[1:3, :, 1], np.s_[::2, 1],
    np.s_[..., 1:4], np.s_[0, ..., 2], np.s_[2:2], np.s_[5:9, 1:], np.s_[:, 1::2, ::3], np.s_[np.int64(2), 0],
    np.s_[1, 2, 3], np.s_[...],
]  # fmt: skip


@pytest.mark.parametrize("items", CUTS, ids=str)
def test_cut_as_numpy_does(items):
    host = numbers(4, 3, 5)
    found, wanted = device.to_device(host)[items], host[items]
    if wanted.ndim and wanted.size:
        assert (found.shape, found.strides) == (wanted.shape, wanted.strides)
        assert device.contiguous(found) == wanted.flags.c_contiguous
    assert np.shape(found) == wanted.shape
    found = found if np.isscalar(found) else device.to_host(found)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("items", [4, -5, (0, 3), (0, 0, 0, 0)])
def test_no_such_place(items):
    with pytest.raises(IndexError):
        device.to_device(numbers(4, 3, 5))[items]


def test_another_shape():
    host = numbers(4, 3, 5)
    array = device.to_device(host)
    for shape in ((-1,), (12, 5), (2, 2, -1), (4, 1, 3, 5)):
        np.testing.assert_array_equal(device.to_host(array.reshape(shape)), host.reshape(shape))
    assert array[1:].reshape(9, 5).stream == array.stream
    for shape in ((7, -1), (61,), (-1, -1)):
        with pytest.raises(ValueError, match="has no shape"):
            array.reshape(shape)
    with pytest.raises(NotImplementedError):
        array[:, 1].reshape(-1)


def test_numbas_functions_take_it():
    host = numbers(4, 6)
    array = device.to_device(host)
    np.testing.assert_array_equal(array.copy_to_host(), host)
    np.testing.assert_array_equal(np.asarray(array[:, 2:4]), host[:, 2:4])
    np.testing.assert_array_equal(cuda.as_cuda_array(array[1:]).copy_to_host(), host[1:])
    np.testing.assert_array_equal(array.T.copy_to_host(), host.T)
    array[1] = 0.0
    cuda.to_device(np.ones(6), to=array[2])
    host[1], host[2] = 0.0, 1.0
    np.testing.assert_array_equal(array.copy_to_host(), host)


def test_no_piece_is_listed(monkeypatch):
    """Numba lists the contiguous pieces of a view, one for each row over time and batch."""
    listed = dummyarray.Array.iter_contiguous_extent

    def counted(self):
        for count, extent in enumerate(listed(self)):
            assert not count, f"the pieces of an array of shape {self.shape} and strides {self.strides} are listed"
            yield extent

    monkeypatch.setattr(dummyarray.Array, "iter_contiguous_extent", counted)
    with pytest.raises(AssertionError, match="pieces of an array"):
        cuda.to_device(numbers(4, 3))[:, 1:]
    x, net = numbers(T, B, I), tt.Network("lstm", I, N, num_layers=2, seed=1).to("cuda")
    run = net.unroll(x, lengths=[T, T - 1])
    all_of_a_run(run)
    assert run.output[:, 0, 1:].shape == (T, N - 1)
    both = tt.Network("gru", I, N, bidirectional=True, batch_first=True, seed=1).to("cuda")
    both.unroll(numbers(B, T, I)).backprop(numbers(B, T, 2 * N))
    tt.analysis.lyapunov_spectrum(net, x)
    tt.analysis.gradient_by_lag(net.unroll(x), numbers(T, B, N))


# --------------------------------------------------------------------------------------------------------- memory


def test_a_second_run_asks_the_driver_for_no_memory(new):
    net, x, g = tt.Network("lstm", I, N, seed=1).to("cuda"), numbers(T, B, I), numbers(T, B, N)

    def once():
        run = net.unroll(x)
        return run.backprop(g).input.copy_to_host()

    first = once()
    before, asked = driver.allocations(), len(new)
    for _ in range(3):
        np.testing.assert_array_equal(once(), first)
    assert driver.allocations() == before  # nothing given back either
    assert len(new) == asked


def test_memory_stays_with_its_stream(new):
    here, there = stream(blocking=False), stream(blocking=False)
    sizes = []
    for at in (here, here, there, there, 0):
        with streams.on(at):
            device.empty(100, np.float64)
        sizes.append(len(new))
    assert sizes == [1, 1, 2, 2, 3]


def test_work_of_others_is_waited_for(new, monkeypatch):
    """Memory whose address somebody has asked for may be in use on any stream; that of a run is not lent."""
    waits, synchronize = [], cuda.synchronize
    monkeypatch.setattr(cuda, "synchronize", lambda: (waits.append(1), synchronize()))
    monkeypatch.setattr(pool, "LENT", 3)
    net = tt.Network("lstm", I, N, seed=1).to("cuda")
    run = net.unroll(numbers(T, B, I))
    device.to_host(run.backprop(numbers(T, B, N)).input)
    assert not run.output.owner.lent
    assert not any(value.owner.lent for value in net.parameters.values())
    assert run.output.__cuda_array_interface__["data"][0] == run.output.address
    assert run.output.owner.lent
    new.clear()
    for _ in range(8):
        lent = device.empty(1000, np.float64)
        cuda.to_device(np.zeros(1000), stream=stream(blocking=False), to=lent)
        del lent
    assert len(waits) == 2
    assert len(new) == 3


def test_memory_that_another_stream_looks_at_is_waited_for():
    """Runs on all streams share copies of the weights, which belong to the stream of the first. The emulated driver
    complains where what is read by one is overwritten by another that does not wait."""
    here, there = stream(blocking=False), stream(blocking=False)
    x, g, net = numbers(T, B, I), numbers(T, B, N), tt.Network("lstm", I, N, seed=1).to("cuda")
    net.unroll(Array(x, here))
    run = net.unroll(Array(x, there))
    run.backprop(g)
    kept = next(layer for of_layer in run._layers for layer in of_layer).parameters
    assert all(array.owner.abroad and not array.owner.lent for array in kept)
    sizes = [array.size for array in kept]
    del net, run, kept
    gc.collect()
    with streams.on(here):
        for array in [device.empty((size,), np.float64) for size in sizes]:
            device.clear(array)


def test_a_circle_of_references_loses_no_memory():
    """The garbage collector runs Numba's finalisers before anything in the circle can be saved."""
    for _ in range(3):
        array = device.empty(1000, np.float64)
        array.itself, before = array, driver.allocations()
        del array
        gc.collect()
        assert driver.allocations() == before
    assert len(pool._blocks) >= 1


def test_what_does_not_fit_is_tried_again_without_idle_memory(monkeypatch):
    settled()
    device.empty(1000, np.float64)
    before, context, tries = driver.allocations(), cuda.current_context(), []
    allocate = type(context).memalloc

    def full_once(self, size):
        tries.append(driver.allocations())
        if len(tries) == 1:
            raise CudaAPIError(2, "full")
        self.memory_manager.deallocations.clear()
        return allocate(self, size)

    monkeypatch.setattr(type(context), "memalloc", full_once)
    device.empty(5000, np.float64)
    assert len(tries) == 2
    assert driver.allocations() == before  # one went, one came

    def broken(self, size):
        raise CudaAPIError(1, "invalid")

    monkeypatch.setattr(type(context), "memalloc", broken)
    with pytest.raises(CudaAPIError, match="invalid"):
        device.empty(7000, np.float64)


def test_no_more_is_kept_than_may_be(monkeypatch):
    device.empty(1, np.float64)
    (context,) = pool._limits
    monkeypatch.setitem(pool._limits, context, 3000)
    pool.release()
    arrays = [device.empty(n, np.uint8) for n in (1000, 900, 800, 700, 600)]
    kept = arrays[0].address
    del arrays[1:]
    del arrays
    assert pool._held["idle"] <= 3000
    assert device.empty(1000, np.uint8).address == kept  # the one that came back last


def test_memory_is_given_back_when_asked():
    settled()
    before = driver.allocations()
    array = device.empty(1000, np.float64)
    address = array.address
    del array
    assert address in pool._blocks
    tt.release_memory()
    assert pool._held == {"idle": 0, "lent": 0}
    assert address not in pool._blocks
    settled()
    assert driver.allocations() == before


def test_sizes_waste_an_eighth_at_most():
    rounded = pool.rounded.own  # elsewhere in this folder sizes are as asked for
    for size in [1, 511, 512, 513, 4096, 4097, 100_000, 2**20 - 1, 2**20 + 1, 10**9 + 7]:
        assert size <= rounded(size) <= max(512, size + size // 8 + 512)
        assert rounded(rounded(size)) == rounded(size)


# ------------------------------------------------------------------------------------------------------- launches


def test_kernels_go_the_short_way(monkeypatch):
    """All kernels of a run, among them ones whose arguments are tuples, start without Numba's own preparations."""

    def refused(*_):
        raise AssertionError("a launch went Numba's way")

    x, net = numbers(T, B, I), tt.Network("lstm", I, N, seed=1)
    there = net.to("cuda")
    all_of_a_run(there.unroll(x))  # compiled
    monkeypatch.setattr("numba.cuda.dispatcher._Kernel.launch", refused)
    found, wanted = all_of_a_run(there.unroll(x)), all_of_a_run(net.unroll(x))
    for name, value in found.items():
        np.testing.assert_allclose(device.to_host(value), wanted[name], rtol=1e-12, atol=1e-13)


@cuda.jit
def scaled(x, more, out):
    k = cuda.grid(1)
    if k < x.size:
        out[k] = x[k] * more[0] + more[1][0]


@pytest.mark.parametrize("number", [3, 2.5, np.float32(1.5), np.float64(0.1), np.int32(-2), np.uint32(7), np.int64(-9)])
@pytest.mark.parametrize("gaps", [False, True])
def test_arguments_of_all_kinds(number, gaps):
    host, shift = numbers(40), np.array([0.5])
    x, out = device.to_device(host), device.empty(40, np.float64)
    if gaps:
        x, host, out = x[::2], host[::2], device.empty(20, np.float64)
    device.launch(scaled, (2, 1, 1), 32, (x, (number, device.to_device(shift)), out))
    np.testing.assert_array_equal(device.to_host(out), host * number + shift)
    known = launches._flatten((x, (number, x), out), [], [])
    assert known is not gaps


def test_arrays_of_others_are_taken(new):
    x, there = numbers(T, B, I), stream(blocking=False)
    net = tt.Network("lstm", I, N, seed=1)
    run = net.to("cuda").unroll(Array(x, there))
    close(run.output, net.unroll(x).output, at=there)
