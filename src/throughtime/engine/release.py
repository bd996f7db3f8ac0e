"""Memory that is kept for arrays to come, given back."""

import sys

from . import memory


def release_memory() -> None:
    """Give the memory that no array uses back to the system, and on a GPU to its driver.

    What a run, its gradients and what lies between them took is kept for the next ones, since memory that is new costs
    more than the arithmetic of small runs: at most 256 MB of the host and an eighth of the GPU. The library does this
    by itself where the GPU has no room left for an array of its own; call it where another library needs the room. An
    array on the GPU that others have been handed (CuPy, PyTorch, kernels of Numba) has its memory kept until all work
    on the GPU that was queued before is done.

    >>> import throughtime as tt
    >>> tt.release_memory()
    """
    memory.release()
    pool = sys.modules.get(f"{__package__}.cuda.pool")  # where a GPU is used
    if pool is not None:
        pool.release()
