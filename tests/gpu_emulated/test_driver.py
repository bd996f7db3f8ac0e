"""The emulated driver takes no wrong for right: each of its checks against a planted error, and its rules of order."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import driver
import numpy as np
import pytest
from cuda.bindings import driver as binding
from numba import cuda
from numba.cuda.cudadrv.driver import CudaAPIError, Stream

from throughtime.engine.cuda import device
from throughtime.engine.cuda.thread_exchange import side_by_side


@cuda.jit
def kernel(x, y):
    """Never runs: `writing` stands in for it."""
    y[0] = x[0]


@cuda.jit
def together(x):
    cuda.cg.this_grid().sync()


@cuda.jit(launch_bounds=(64, 1))
def of_64_threads(x):
    x[0] = 1


ARRAY = 7  # parameters of an array with one axis
DATA = 4  # the place of its address among them


@contextmanager
def writing(*arrays, at=0, code=0):
    """Inside, a kernel writes byte `at` of these of its arguments, and does nothing else."""

    def run(*given):
        parameters = given[-1]
        for k in arrays:
            place = ctypes.cast(parameters[k * ARRAY + DATA], ctypes.POINTER(ctypes.c_uint64))
            ctypes.memset(place[0] + at, place[0] & 0x7F | run.count, 1)
            run.count += 1
        return code

    run.count = 1
    with driver.launches(run):
        yield


def stream(blocking):
    flag = binding.CUstream_flags.CU_STREAM_DEFAULT if blocking else binding.CUstream_flags.CU_STREAM_NON_BLOCKING
    error, handle = binding.cuStreamCreate(flag)
    assert error == 0
    return Stream(handle, external=True)


def array(size=8):
    made = cuda.to_device(np.zeros(size))
    cuda.synchronize()
    return made


@contextmanager
def refused(sentence, error="ILLEGAL_ADDRESS"):
    """Inside, a call fails, and the driver says why."""
    with pytest.raises(Exception, match=f"CUDA_ERROR_{error}"):
        yield
    found = driver.complaints()
    assert len(found) == bool(sentence)
    assert sentence in "".join(found)


# --------------------------------------------------------------------------------------------------------- memory


def test_what_nobody_has_written_is_nan():
    assert np.isnan(cuda.device_array(100).copy_to_host()).all()


class Foreign:
    """Memory that numba-cuda does not give back."""

    def __init__(self, size=8):
        self.address = int(binding.cuMemAlloc(size * 8)[1])
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "<f8",
            "data": (self.address, False),
            "version": 3,
        }

    def free(self):
        return binding.cuMemFree(self.address)[0]


def test_memory_that_was_freed():
    memory = Foreign()
    x = cuda.as_cuda_array(memory)
    kernel[1, 1](x, array())
    assert memory.free() == 0
    with refused("in an allocation of 64 bytes that was freed"):
        kernel[1, 1](x, array())
    with refused("that was freed"):
        x.copy_to_host()
    assert memory.free() != 0
    assert "that was freed" in driver.complaints()[0]


def test_an_address_of_the_host():
    own = np.zeros(8)

    @cuda.jit
    def takes_a_number(x, number):
        x[0] = number

    with refused("is no address in device memory"):
        takes_a_number[1, 1](array(), own.ctypes.data)


def test_a_copy_beyond_the_end():
    x = array(8)
    with refused("80 bytes from byte 0 of an allocation of 64 bytes"):
        cuda.cudadrv.driver.device_to_host(np.zeros(10), x, 80)


@pytest.mark.parametrize("at", [64, 255, -1])
def test_a_kernel_that_writes_beside_its_array(at):
    x, memory = array(8), Foreign()
    y = cuda.as_cuda_array(memory)
    with writing(1, at=at), refused(f"written to byte {at} of an allocation of 64 bytes"):
        kernel[1, 1](x, y)
    ctypes.memset(memory.address + at, 0, 1)
    assert memory.free() == 0
    assert "written to byte" in driver.complaints()[0]


FAR = """
import sys; sys.path.insert(0, {here!r})
import driver; driver.load()
import test_driver
x, y = test_driver.array(), test_driver.array()
with test_driver.writing(1, at=5000):
    test_driver.kernel[1, 1](x, y)
"""


def test_a_kernel_that_writes_far_off():
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", FAR.format(here=here)], capture_output=True, text=True, timeout=300)
    assert done.returncode < 0
    assert "kernel" in done.stderr
    assert "5000 bytes from the start of an allocation of 64 bytes" in done.stderr


def test_leaks_show():
    def settled():
        gc.collect()
        cuda.current_context().memory_manager.deallocations.clear()
        return driver.allocations()

    before = settled()
    x = array()
    assert settled() == before + 1
    del x
    assert settled() == before


# ---------------------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("blocking", [True, False])
def test_two_streams_without_order(blocking):
    x, y, z, one, two = array(), array(), array(), stream(blocking), stream(blocking)
    with writing(1):
        kernel[1, 1, one](x, y)
    with refused("does not wait for stream"):
        y.copy_to_host(stream=two)
    with writing(0), refused("which reads what it writes"):
        kernel[1, 1, two](x, z)
    with refused("does not wait for stream"):
        cuda.to_device(np.zeros(8), stream=two, to=y)


def test_two_streams_may_read_at_once():
    x, y, one, two = array(), array(), stream(False), stream(False)
    with writing():
        kernel[1, 1, one](x, y)
        kernel[1, 1, two](x, y)


@pytest.mark.parametrize("how", ["stream", "context", "event", "event on the device"])
def test_ways_to_wait(how):
    x, y, one, two = array(), array(), stream(False), stream(False)
    event = cuda.event()
    with writing(1):
        kernel[1, 1, one](x, y)
    event.record(one)
    if how == "stream":
        one.synchronize()
    elif how == "context":
        cuda.synchronize()
    elif how == "event":
        event.synchronize()
    else:
        event.wait(two)
    y.copy_to_host(stream=two)


def test_an_event_from_before_the_work():
    x, y, one, two = array(), array(), stream(False), stream(False)
    event = cuda.event()
    event.record(one)
    with writing(1):
        kernel[1, 1, one](x, y)
    event.wait(two)
    with refused("does not wait for stream"):
        y.copy_to_host(stream=two)


def test_the_default_stream():
    x, y, blocking, other = array(), array(), stream(True), stream(False)
    with writing(1):
        kernel[1, 1, blocking](x, y)
        kernel[1, 1](x, y)
        kernel[1, 1, blocking](x, y)
        with refused("does not wait for stream"):
            kernel[1, 1, other](x, y)


def test_a_copy_to_the_device_may_be_under_way_when_the_call_returns():
    x = cuda.to_device(np.zeros(8))
    other = stream(False)
    with refused("does not wait for stream 0"):
        x.copy_to_host(stream=other)
    cuda.default_stream().synchronize()
    x.copy_to_host(stream=other)


def test_a_stream_that_is_gone():
    one = stream(False)
    binding.cuStreamDestroy(one.handle)
    with refused("", error="INVALID_HANDLE"):
        array().copy_to_host(stream=one)


# ------------------------------------------------------------------------------------------------------- launches


def test_too_many_threads_or_too_much_memory():
    x = array()
    with writing(0):
        of_64_threads[1, 64](x)
        for threads in (65, 1025):
            with refused("", error="INVALID_VALUE"):
                of_64_threads[1, threads](x)
        with refused("", error="INVALID_VALUE"):
            of_64_threads[1, 32, 0, 49 * 1024](x)
        with refused("", error="INVALID_VALUE"):
            of_64_threads[(1, 65536), 32](x)


def test_blocks_that_meet_must_fit():
    x = array()
    with writing(0):
        together[1, 64](x)
        most = device.blocks_at_once(together, 64, (x,))
        assert most % 132 == 0
        together[most, 64](x)
        with pytest.raises(ValueError, match="exceeds the limit"):  # cuda.core asks how many fit
            together[most + 1, 64](x)
        assert launched_together(together, 1, x) == 0
        assert launched_together(together, most + 1, x) == binding.CUresult.CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE


def launched_together(kernel, blocks, x):
    """Past cuda.core: what the driver answers."""
    config, attribute = binding.CUlaunchConfig(), binding.CUlaunchAttribute()
    attribute.id = binding.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE
    attribute.value.cooperative = 1
    config.gridDimX, config.gridDimY, config.gridDimZ = blocks, 1, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = 64, 1, 1
    config.attrs, config.numAttrs = [attribute], 1
    (made,) = kernel.overloads.values()
    function = int(made._codelibrary.get_cufunc().kernel.handle)
    values = (0, 0, x.size, 8, x.gpu_data.device_pointer_value, x.size, 8)
    return binding.cuLaunchKernelEx(config, function, (values, (ctypes.c_int64,) * ARRAY), 0)[0]


@pytest.mark.parametrize("size", [4, 16])
def test_clusters_must_divide_the_grid_and_hold_8_blocks_at_most(size):
    @cuda.jit
    def in_clusters(x):
        side_by_side(size)
        x[0] = 1

    with writing(0):
        if size <= 8:
            in_clusters[2 * size, 32](array())
        with refused("", error="INVALID_CLUSTER_SIZE"):
            in_clusters[2 * size if size > 8 else size + 1, 32](array())


def test_a_kernel_that_fails():
    with writing(code=1), refused("", error="LAUNCH_FAILED"):
        kernel[1, 1](array(), array())


def test_the_device():
    found = cuda.get_current_device()
    assert found.compute_capability == (9, 0)
    assert found.MULTIPROCESSOR_COUNT == 132
    with pytest.raises(CudaAPIError):
        _ = found.KERNEL_EXEC_TIMEOUT  # what nobody needs is not made up


def test_what_the_driver_lacks_is_named():
    with pytest.raises(Exception, match="cuArrayCreate"):
        binding.cuArrayCreate(binding.CUDA_ARRAY_DESCRIPTOR())


FIRST = {
    "an array": "device.empty((3,), 'f8')",
    "a copy": "device.to_device(np.ones(3))",
    "a question": "device.multiprocessors()",
    "a stream": "streams.on(cuda.stream()).__enter__()",
    "memory given back": "tt.release_memory()",
    "a network": "tt.Network('tanh', 1, 2).to('cuda')",
}


@pytest.mark.parametrize("first", FIRST)
def test_whatever_a_process_asks_of_the_device_first(first):
    """The driver answers nothing before it has been told to begin."""
    script = (
        "import driver; library = driver.load(); import machine; machine.install(library)\n"
        "import numpy as np; import throughtime as tt\n"
        "from throughtime.engine.cuda import device, streams\n"
        "from throughtime.engine.cuda.toolkit import cuda\n"
        f"{FIRST[first]}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
