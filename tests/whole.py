"""Where many cases go through the same code, tests take some of them that meet every branch: THROUGHTIME_TESTS=all has
them all. Of the GPU's kernels, that is, every cut, every shape of a cell and both precisions in either way."""

import os

ALL = os.environ.get("THROUGHTIME_TESTS") == "all"


def in_turn(*names):
    """(name, dtype) of every name, in the two precisions by turns, or in both."""
    both = ("float64", "float32")
    return [(name, dtype) for k, name in enumerate(names) for dtype in (both if ALL else both[k % 2 :][:1])]
