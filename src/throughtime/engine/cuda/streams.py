"""On which stream of the device work is queued, and which streams wait for which."""

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from .device_array import DeviceArray
from .pool import Lease
from .toolkit import SIMULATED, cuda, current, done, driver


class Queue(NamedTuple):
    """A stream on which work is queued."""

    stream: Any
    handle: int
    number: int  # no other stream ever has it, as another may come to have the handle
    context: int  # in which this thread works; 0: ask

    @property
    def home(self) -> tuple[int, int]:
        """Whose memory the work uses."""
        return self.context or current(), self.number


DEFAULT = Queue(0, 0, 0, 0)
_queue: ContextVar[Queue] = ContextVar("queue", default=DEFAULT)
_met: ContextVar[dict[int, Any]] = ContextVar("met")  # the streams whose arrays the work on this one has been given


def queue() -> Queue:
    """Where work of this thread is queued now."""
    return _queue.get()


def stream_of(x: Any) -> Any:
    """The stream that makes an array's numbers: named in its CUDA array interface, PyTorch's current one, or 0."""
    if SIMULATED:
        return 0
    if isinstance(x, DeviceArray):
        return x.stream
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):  # whose interface names none
        named = torch.cuda.current_stream(x.device).cuda_stream
    else:
        named = (getattr(x, "__cuda_array_interface__", None) or {}).get("stream")
    return cuda.external_stream(named) if named and named > 2 else 0  # 1 and 2 are the default streams


@contextlib.contextmanager
def on(stream: Any) -> Iterator[None]:
    """Launches and copies inside are queued on this stream, and wait for the streams of the arrays that they are given.

    Those wait for it in turn: who has lent an array may change or free it, on its own stream, once the call is over.
    Who lends it by DLPack alone cannot be told.
    """
    tokens = _queue.set(_queue_of(stream)), _met.set({})
    try:
        yield
    finally:
        met = _met.get()
        _queue.reset(tokens[0])
        _met.reset(tokens[1])
        for other in met.values():
            _wait(other, stream)


def _queue_of(stream: Any) -> Queue:
    if SIMULATED:
        return DEFAULT
    handle, context = handle_of(stream), current()
    number = int(done(driver().cuStreamGetId(handle))) + 1 if handle else 0
    return Queue(stream, handle, number, context)


def meet(other: Any) -> None:
    """Work that is queued from here on waits for what another stream has to do now."""
    here, met, handle = queue(), _met.get({}), handle_of(other)
    if handle != here.handle and handle not in met:
        met[handle] = other
        _wait(here.stream, other)


def of_another(array: DeviceArray) -> bool:
    """Whether the memory of an array is used again in the order of another stream than this one."""
    return isinstance(array.owner, Lease) and array.owner.block.home != queue().home


def _wait(stream: Any, other: Any) -> None:
    event = cuda.event(timing=False)
    event.record(other)
    event.wait(stream)


def handle_of(stream: Any) -> int:
    return int(stream.handle) if stream else 0
