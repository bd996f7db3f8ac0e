"""The device and what is done on it: arrays without copies, launches."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from . import launches, pool
from .compiler import kernel
from .device_array import DeviceArray, along, made
from .pool import Lease
from .streams import meet, of_another, queue, stream_of
from .toolkit import SIMULATED, cuda, done, driver, from_dlpack, installed

OLDEST = 8, 0  # compute capability: asynchronous copies to shared memory


def available() -> bool:
    """Whether there is a device, or the simulator in place of one."""
    return SIMULATED or (installed() and bool(cuda.is_available()))


def require() -> None:
    """RuntimeError with a sentence that says what is missing, unless a device can be used."""
    if not SIMULATED and not installed():
        raise RuntimeError(
            'The GPU engine needs Numba\'s CUDA package, which is not installed: pip install "throughtime[cuda]".'
        )
    if not available():
        raise RuntimeError(
            "No CUDA device can be used: either this machine has no NVIDIA GPU, or its driver is missing or older than "
            'CUDA 13 (see `nvidia-smi`); with a GPU and driver 580 or later, pip install "throughtime[cuda]" is enough.'
        )
    if not SIMULATED and (found := cuda.get_current_device().compute_capability) < OLDEST:
        raise RuntimeError(
            f"The GPU is of compute capability {found[0]}.{found[1]}; the kernels need {OLDEST[0]}.{OLDEST[1]} or "
            "later (Ampere, 2020). Keep the network on the CPU, or choose another GPU by CUDA_VISIBLE_DEVICES."
        )


def empty(shape: Any, dtype: Any) -> Any:
    """A C-contiguous array on the device, not filled."""
    shape = shape if type(shape) is tuple else (shape,) if isinstance(shape, int) else tuple(shape)
    if SIMULATED:
        return cuda.device_array(shape, dtype)
    dtype, here = np.dtype(dtype), queue()
    bytes_ = math.prod(shape) * dtype.itemsize
    lease = pool.take(bytes_, here.home) if bytes_ else None
    there = lease.address if lease else 0
    return made(shape, along(shape, dtype.itemsize), dtype, here.stream, there, lease, True)


def to_device(array: np.ndarray) -> Any:
    """A copy of a NumPy array on the device."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    if SIMULATED:
        return cuda.to_device(array) if array.size else empty(array.shape, array.dtype)
    out = empty(array.shape, array.dtype)
    if array.size:
        if array.nbytes <= SMALL or _pinned(array):
            array = array.copy()
        done(driver().cuMemcpyHtoDAsync(out.address, array.ctypes.data, array.nbytes, queue().handle))
    return out


SMALL = 1 << 14  # bytes that are copied in the time of a question to the driver


def _pinned(array: np.ndarray) -> bool:
    """Whether the driver would read an array while its owner goes on, and may write it; what it does not know it has
    read when the call is over."""
    asked = [driver().CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE]
    return bool(done(driver().cuPointerGetAttributes(1, asked, array.ctypes.data))[0])


def to_host(array: Any) -> np.ndarray:
    """A copy of a device array in NumPy, once all that was queued before is done."""
    if SIMULATED:
        return np.array(array.copy_to_host())
    return np.asarray(wrap(array).copy_to_host(stream=queue().stream))


def constant(key: tuple, make: Callable[[], Any]) -> Any:
    """What `make` makes, once for a stream and a key: an array that nobody changes."""
    if SIMULATED:
        return make()
    whole = *queue().home, *key
    found = _constants.pop(whole, None)
    _constants[whole] = found = make() if found is None else found  # the last used at the end
    for oldest in list(_constants)[:-MOST_CONSTANTS]:
        _constants.pop(oldest, None)
    return found


_constants: dict[tuple, Any] = {}
MOST_CONSTANTS = 64


def made_of(array: Any) -> dict | None:
    """What was made of the numbers of an array that nobody here changes; None where others may have done so."""
    owner = None if SIMULATED else array.owner
    if not isinstance(owner, Lease) or owner.lent:
        return None
    return owner.of(array.address, array.shape, array.strides)


def forget(array: Any) -> None:
    """Nothing of what was made of the numbers of this memory holds any more."""
    if not SIMULATED and isinstance(array.owner, Lease):
        array.owner.derived = None


def copy_numbers(target: Any, source: Any) -> None:
    """target[...] = source[...] for C-contiguous arrays of one size and dtype."""
    if SIMULATED:
        target._ary[...] = source._ary.reshape(target.shape)
    elif target.size:
        bytes_ = target.size * target.dtype.itemsize
        done(driver().cuMemcpyDtoDAsync(target.address, source.address, bytes_, queue().handle))


def clear(array: Any) -> None:
    """0 in a C-contiguous array."""
    if SIMULATED:
        array._ary[...] = 0
    elif array.size:
        bytes_ = array.size * array.dtype.itemsize
        done(driver().cuMemsetD8Async(array.address, 0, bytes_, queue().handle))


def on_device(x: Any) -> bool:
    """Whether x lies on the device: by its CUDA array interface, or DLPack."""
    if SIMULATED:
        return hasattr(x, "copy_to_host")
    if isinstance(x, DeviceArray) or hasattr(x, "__cuda_array_interface__"):
        return True
    return hasattr(x, "__dlpack_device__") and int(x.__dlpack_device__()[0]) == DLPACK_CUDA


DLPACK_CUDA = 2
LEGACY_DEFAULT = 1  # the default stream, as DLPack counts


def wrap(x: Any) -> Any:
    """x as an array of ours, without a copy; it must not be freed or changed while in use."""
    if SIMULATED:
        return x
    if isinstance(x, DeviceArray):
        meet(x.stream)
        if of_another(x):
            x.owner.abroad = True
        return _forward(x)
    if not hasattr(x, "__cuda_array_interface__"):
        x, stream = _FromDLPack(x), queue().stream  # which its producer has told to wait
    else:
        stream = stream_of(x)
        meet(stream)
    found = x if cuda.cudadrv.devicearray.is_cuda_ndarray(x) else cuda.as_cuda_array(x, sync=False)
    there = found.device_ctypes_pointer.value or 0
    return _forward(DeviceArray(found.shape, found.strides, found.dtype, stream, address=there, owner=found))


def _forward(array: DeviceArray) -> DeviceArray:
    if not array.c_contiguous and min(array.strides) < 0:
        raise ValueError(
            f"An array on the GPU of shape {array.shape} has an axis that runs backwards; expected one whose axes run "
            "forwards: make a copy in order first, such as `cupy.ascontiguousarray(x)`."
        )
    return array


class _FromDLPack:
    """An object that offers DLPack alone, with the interface that Numba takes."""

    def __init__(self, x: Any) -> None:
        self.view = from_dlpack(x, queue().handle or LEGACY_DEFAULT)
        itemsize = self.view.dtype.itemsize
        strides = self.view.strides
        self.__cuda_array_interface__ = {
            "shape": tuple(self.view.shape),
            "strides": None if strides is None else tuple(n * itemsize for n in strides),
            "typestr": self.view.dtype.str,
            "data": (self.view.ptr, bool(self.view.readonly)),
            "version": 3,
        }


def contiguous(array: Any) -> bool:
    """Whether the numbers lie in the order of the axes, without gaps."""
    return bool(array.is_c_contiguous())


def flat(array: Any) -> Any:
    """The numbers from the first of `array` to its last as a flat array; what a view leaves out lies in between."""
    if contiguous(array):
        return array.reshape(-1)
    size, item = math.prod(array.shape), array.dtype.itemsize
    reach = 1 + sum((n - 1) * stride // item for n, stride in zip(array.shape, array.strides, strict=True))
    return _view(array, (reach if size else 0,), (item,))


def shaped(array: Any, shape: tuple[int, ...]) -> Any:
    """A C-contiguous array in another shape."""
    return array.reshape(shape)


def rows(array: Any) -> tuple[Any, int]:
    """The numbers of `array` (T, B, n) as in `flat`, and how many from row to row (t, b) to the next."""
    steps, batch, n = (int(length) for length in array.shape)
    bytes_ = array.strides[1] if batch > 1 else array.strides[0] if steps > 1 else n * array.dtype.itemsize
    return flat(array), int(bytes_) // array.dtype.itemsize  # an axis of length 1 may have any stride


def in_rows(array: Any, count: int, stride: int) -> Any:
    """A view of `count` rows of the last axis, `stride` bytes apart."""
    return _view(array, (count, int(tuple(array.shape)[-1])), (stride, array.dtype.itemsize))


def transposed(array: Any, axes: tuple[int, ...]) -> Any:
    """A view with the axes in another order."""
    shape, strides = tuple(array.shape), tuple(array.strides)
    return _view(array, tuple(shape[axis] for axis in axes), tuple(strides[axis] for axis in axes))


def repeated(array: Any, times: int) -> Any:
    """A view with a first axis along which all is the same."""
    return _view(array, (times, *array.shape), (0, *array.strides))


def _view(array: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    if SIMULATED:
        return type(array)(np.lib.stride_tricks.as_strided(array._ary, shape, strides))
    return array.view_of(shape, strides)


def at_vector(array: Any) -> bool:
    """Whether an array begins at a multiple of 16 bytes, as all do that are not views."""
    return (array._ary.ctypes.data if SIMULATED else array.address) % 16 == 0


def launch(kernel: Any, grid: tuple[int, int, int], threads: int, arguments: tuple) -> None:
    """Start a kernel; every launch of the engine goes through here."""
    here = queue()
    if SIMULATED or not launches.start(kernel, grid, threads, arguments, (here.home[0], here.handle)):
        kernel[grid, threads, here.stream](*arguments)


@cache
def plain(function: Callable) -> Any:
    """A kernel without constants of its own, for blocks of EACH threads."""
    return kernel(function, "plain", {}, EACH)


EACH = 256


def for_each(function: Callable, count: int, arguments: tuple) -> None:
    """Launch such a kernel with a thread for each of `count` numbers, and with those that fill up the last block."""
    if count:
        launch(plain(function), (-(-count // EACH), 1, 1), EACH, arguments)


def blocks_at_once(kernel: Any, threads: int, arguments: tuple) -> int:
    """The most blocks of a kernel that the device holds at the same time, which those that meet must not exceed."""
    if SIMULATED:
        return SIMULATED_BLOCKS
    return launches.blocks_at_once(kernel, threads, arguments, queue().home[0])


SIMULATED_BLOCKS = 6


def multiprocessors() -> int:
    """Of the device; those of an H100 in the simulator."""
    return 132 if SIMULATED else _known(queue().home[0])[0]


def clusters() -> int:
    """How many clusters run at once for sure: of 8 blocks that start side by side and reach each other's shared memory.

    Not all multiprocessors lie in groups of 8: on the 132 of an H100, 16 clusters took nearly twice the time of one,
    and 32 three times.
    """
    return multiprocessors() // 12 if SIMULATED or _known(queue().home[0])[1] >= (9, 0) else 0


@cache
def _known(context: int) -> tuple[int, tuple[int, int]]:
    """Multiprocessors and compute capability of the device of this context, the current one."""
    device = cuda.get_current_device()
    return int(device.MULTIPROCESSOR_COUNT), device.compute_capability
