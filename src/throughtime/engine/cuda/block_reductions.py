"""Sums and maxima over the threads of a block, always in the same order."""

from .kernel_names import LANES, THREADS
from .register_arrays import thread
from .toolkit import cuda


def added(value):
    """The sum over the LANES neighbouring threads."""
    other = 1
    while other < LANES:
        value += cuda.shfl_xor_sync(0xFFFFFFFF, value, other)
        other *= 2
    return value


def greatest(value):
    """The maximum over the LANES neighbouring threads."""
    other = 1
    while other < LANES:
        value = max(value, cuda.shfl_xor_sync(0xFFFFFFFF, value, other))
        other *= 2
    return value


def greatest_of_block(value, shared):
    """The maximum over all threads of the block, for all of them."""
    tid = thread()
    shared[tid] = value
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if tid < half:
            shared[tid] = max(shared[tid], shared[tid + half])
        half //= 2
    cuda.syncthreads()
    value = shared[0]
    cuda.syncthreads()
    return value


def added_of_block(value, shared):
    """The sum over all threads of the block, for all of them."""
    tid = thread()
    shared[tid] = value
    half = THREADS // 2
    while half > 0:
        cuda.syncthreads()
        if tid < half:
            shared[tid] += shared[tid + half]
        half //= 2
    cuda.syncthreads()
    value = shared[0]
    cuda.syncthreads()
    return value
