"""Arrays as kernels see them under the scheduler: checked indices, poison, and a watch for races.

Two threads that touch the same number, one of them writing, must meet in between: at a barrier, by syncwarp, or through
an atomic number. That is checked at every access and does not depend on the schedule that happens to run.
"""

from __future__ import annotations

import greenlet
import numpy as np


class Race(RuntimeError):
    """Two threads touch a number without having met in between, and one of them writes it."""


class Local:
    """A thread's own array: full of NaN at first, and no index wraps around at negative numbers."""

    def __init__(self, array, name):
        self.array, self.name, self.numbers = array, name, array.size if array.ndim == 1 else 0
        poison(array)

    def place(self, index):
        """Checked indices: a negative one, which NumPy would take from the end, is a foreign address on the device."""
        if type(index) is not tuple:
            if 0 <= index < self.numbers:
                return index
            index = (index,)
        for i, n in zip(index, self.array.shape, strict=True):
            if not 0 <= i < n:
                raise IndexError(f"index {i} of {self.name} of {n} numbers")
        return index

    def __getitem__(self, index):
        return self.array[index if type(index) is int and 0 <= index < self.numbers else self.place(index)]

    def __setitem__(self, index, value):
        self.array[index if type(index) is int and 0 <= index < self.numbers else self.place(index)] = value

    shape = property(lambda self: self.array.shape)
    size = property(lambda self: self.array.size)
    dtype = property(lambda self: self.array.dtype)
    itemsize = property(lambda self: self.array.itemsize)

    def __len__(self):
        return len(self.array)


def poison(array):
    """Fill with what no result can hide: NaN, or the lowest whole number."""
    array.fill(np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).min)


class Tracked(Local):
    """An array that threads share. Known by address, so that two names for the same memory are seen as one.

    Most of a simulation's time is spent here, so what could be a call is written out.
    """

    def __init__(self, array, name, written_first=False):
        self.array, self.name, self.written_first = array, name, written_first
        self.numbers = array.size if array.ndim == 1 else 0
        self.base, self.step = array.__array_interface__["data"][0], array.strides[0] if array.ndim else 0

    def address(self, index):
        if type(index) is not tuple:
            return self.base + index * self.step
        return self.base + sum(i * step for i, step in zip(index, self.array.strides, strict=True))

    def __getitem__(self, index):
        if type(index) is int and 0 <= index < self.numbers:
            at = self.base + index * self.step
        else:
            index = self.place(index)
            at = self.address(index)
        thread = greenlet.getcurrent()
        accesses = thread.launch.accesses
        if at in accesses:
            wrote, readers = accesses[at]
            if wrote is not None:
                other, time = wrote
                if other is not thread and thread.knows[other.index] < time:
                    self.check(wrote, thread, index, "reads what", "has written")
                readers[thread] = thread.stamp
                return self.array[index]
        else:
            readers = {}
            accesses[at] = [None, readers]
        if self.written_first:
            raise Race(f"{thread} reads number {index} of a {self.name} that nobody has written")
        readers[thread] = thread.stamp
        return self.array[index]

    def __setitem__(self, index, value):
        if type(index) is int and 0 <= index < self.numbers:
            at = self.base + index * self.step
        else:
            index = self.place(index)
            at = self.address(index)
        thread = greenlet.getcurrent()
        accesses = thread.launch.accesses
        if at in accesses:
            wrote, readers = accesses[at]
            if wrote is not None:
                self.check(wrote, thread, index, "writes what", "has written")
            for read in readers.values():
                self.check(read, thread, index, "writes what", "has read")
        accesses[at] = [thread.stamp, {}]
        self.array[index] = value

    def check(self, earlier, thread, index, now, before):
        other, time = earlier
        if other is not thread and thread.knows[other.index] < time:
            raise Race(f"{thread} {now} {other} {before}, and they have not met: number {index} of a {self.name}")

    def atomic(self, index):
        """Release what this thread did to those who touch the number later, and see what those before have released."""
        index, thread = self.place(index), greenlet.getcurrent()
        at, atomics = self.address(index), thread.launch.atomics
        seen = np.maximum(thread.seen, atomics.get(at, thread.seen))
        seen[thread.index] = thread.time
        thread.goes_on(seen, seen.tolist())
        atomics[at] = seen
        return index
