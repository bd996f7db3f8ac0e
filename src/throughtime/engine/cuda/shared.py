"""Arrays that runs on several streams look at, such as packed weights, made by the first of them."""

from typing import Any, NamedTuple

from .device_array import made
from .streams import meet, of_another, queue
from .toolkit import cuda


class Shared(NamedTuple):
    """An array, and when it was done on its stream, which may be gone by then; None of the default stream, which never
    is."""

    array: Any
    event: Any


def share(array: Any) -> Shared:
    """An array that work queued here has made, for others."""
    here = queue()
    if not here.handle:
        return Shared(array, None)
    event = cuda.event(timing=False)
    event.record(here.stream)
    return Shared(array, event)


def taken(shared: Shared) -> Any:
    """The array, on the stream of the work that is queued from here on, which waits for it."""
    array, stream = shared.array, queue().stream
    if not of_another(array):
        return array
    if shared.event is None:
        meet(array.stream)
    else:
        shared.event.wait(stream)
    array.owner.abroad = True
    return made(array.shape, array.strides, array.dtype, stream, array.address, array.owner, array.dense)
