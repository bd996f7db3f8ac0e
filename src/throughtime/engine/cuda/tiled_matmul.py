"""Matrix products of the rows of arrays over time and batch, for all networks of an ensemble at once.

K networks of one shape lie in the batch one after another, `per` rows of M each. Row r of network k, r = t*per + i, is
row t*M + k*per + i of an array over time and batch; so one kernel, and one launch of it, serves a whole ensemble.

    out[k, m, n] = start[k, n] + sum_c left[k, m, c] right[k, n, c]

A block works on a tile of TALL x BROAD sums, each thread on HEIGHT x BREADTH of them in registers. The operands come
in slabs of DEEP terms through shared memory, two slabs by turns: one is copied while the other is used. Sums are taken
in one fixed order. A sum over time and batch is long and its result is small: it is cut into slices, each with blocks
of its own, which a second kernel adds in their order, for up to three
results in one launch.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from . import compiler, device
from .copies_ahead import arrived, bring, sent_off
from .matmul_tile import begin, outer, spread
from .register_arrays import ALIGNED
from .toolkit import cuda

from .kernel_names import (  # isort: skip
    ALONG, A_ALONG, A_FIRST, A_NEXT, A_PITCH, A_SIZE, A_SLAB, BREADTH, BROAD, B_ALONG, B_FIRST, B_NEXT, B_PITCH,
    B_SIZE, B_SLAB, DEEP, HEIGHT, I_STEP, J_STEP, OF_BATCH, OVER_BATCH, PITCH, SIDE, SUMS, TALL, THREADS, TOGETHER,
    fetch_left, fetch_right,
)  # fmt: skip


def fetch(slab, at, matrix, first, row, per, batch, c0, c1, n0, n1):
    """Begins to copy DEEP terms from c0 on, of SIDE rows of the product from n0 on; zeros from c1 and from n1 on.

    ALONG: the terms lie along the rows of the matrix. Else the terms are its rows. OF_BATCH: the rows of the matrix
    are those of an array over time and batch. TOGETHER: the numbers of one copy.
    """
    length, u0, u1, v0, v1 = (DEEP, n0, n1, c0, c1) if ALONG else (SIDE, c0, c1, n0, n1)
    lanes = length // TOGETHER
    v = cuda.threadIdx.x % lanes * TOGETHER
    for i in range(SIDE * DEEP // TOGETHER // THREADS):
        u = cuda.threadIdx.x // lanes + i * (THREADS // lanes)
        place = u0 + u
        if OF_BATCH and per != batch:
            place = place // per * batch + place % per
        left = v1 - v0 - v if u0 + u < u1 else 0
        bring(slab, at + u * PITCH + v, matrix, first + place * row + v0 + v, left, TOGETHER)


def product(left, right, start, out, shape):
    """One tile of out[k], of one slice of its terms.

    OVER_BATCH: the terms are rows of the batch, in both operands. Else the rows of the result and of `left` are.
    Matrices have their first number at `at`, `net` numbers from network to network and `row` from row to row; s_net is
    0 where sums start from 0. aligned: the rows of `out` all begin at a multiple of 16 bytes.
    """
    rows, columns, terms, slices, each, per, batch = shape[:7]
    a_at, a_net, a_row, b_at, b_net, b_row, s_net, o_slice, o_net, o_row, aligned = shape[7:]
    a = cuda.shared.array(A_SIZE, left.dtype, alignment=ALIGNED)
    b = cuda.shared.array(B_SIZE, right.dtype, alignment=ALIGNED)
    sums = cuda.local.array(SUMS, left.dtype)
    across, down = (columns + BROAD - 1) // BROAD, (rows + TALL - 1) // TALL
    block = cuda.blockIdx.x
    n0, m0 = block % across * BROAD, block // across % down * TALL
    part, net = block // (across * down) % slices, block // (across * down) // slices
    low = part * each
    high = min(terms, low + each)
    i, j = cuda.threadIdx.x // J_STEP, cuda.threadIdx.x % J_STEP
    m, n = m0 + i * A_FIRST, n0 + j * B_FIRST
    a_at += net * a_net
    b_at += net * b_net
    begin(sums, start, net * s_net + n, columns - n if s_net else 0, HEIGHT, BREADTH, J_STEP, B_ALONG)
    fetch_left(a, 0, left, a_at, a_row, per, batch, low, high, m0, rows)
    fetch_right(b, 0, right, b_at, b_row, per, batch, low, high, n0, columns)
    sent_off()
    turn = 0
    for c in range(low, high, DEEP):
        if c + DEEP < high:
            fetch_left(a, (1 - turn) * A_SLAB, left, a_at, a_row, per, batch, c + DEEP, high, m0, rows)
            fetch_right(b, (1 - turn) * B_SLAB, right, b_at, b_row, per, batch, c + DEEP, high, n0, columns)
        sent_off()
        arrived(1)
        cuda.syncthreads()
        a_from, b_from = turn * A_SLAB + i * A_NEXT, turn * B_SLAB + j * B_NEXT
        outer(sums, a, a_from, A_PITCH, I_STEP, A_ALONG, b, b_from, B_PITCH, J_STEP, B_ALONG, DEEP, HEIGHT, BREADTH)
        cuda.syncthreads()
        turn = 1 - turn
    at = part * o_slice + net * o_net
    if OVER_BATCH:
        per, batch = 1, 1
    where = (at, o_row, per, batch, m, rows, n, columns, aligned)
    spread(sums, out, where, HEIGHT, BREADTH, I_STEP, A_ALONG, J_STEP, B_ALONG)


def add_slices(first, second, third, one, two, three, slices):
    """Each of three flat arrays = the sum of its slices in their order."""
    place = cuda.grid(1)
    if place < one.size:
        total = first[place]
        for s in range(1, slices[0]):
            total += first[s * one.size + place]
        one[place] = total
    place -= one.size
    if 0 <= place < two.size:
        total = second[place]
        for s in range(1, slices[1]):
            total += second[s * two.size + place]
        two[place] = total
    place -= two.size
    if 0 <= place < three.size:
        total = third[place]
        for s in range(1, slices[2]):
            total += third[s * three.size + place]
        three[place] = total


# --------------------------------------------------------------------------------------------------- cuts and launches


class Cut(NamedTuple):
    """A tile of tall x broad sums, height x breadth of them in each thread."""

    tall: int
    broad: int
    height: int
    breadth: int
    effort: float  # per product and sum, of a multiprocessor; estimated from the loads from shared memory

    @property
    def threads(self) -> int:
        return self.tall * self.broad // (self.height * self.breadth)


LARGE = {4: Cut(128, 128, 8, 8, 1.0), 8: Cut(128, 64, 8, 4, 1.0)}  # 64 sums of 8 bytes do not fit the registers
CUTS = {itemsize: (large, Cut(64, 64, 4, 4, 1.4), Cut(32, 32, 4, 4, 2.0)) for itemsize, large in LARGE.items()}
MULTIPROCESSORS = 132  # of an H100
FEWEST = 256  # terms of a slice, at least
ALONG_BOTH, ALONG_LEFT, OVER = "x W^T", "x W", "x^T y"  # where the terms lie along the rows; OVER: they are the rows


@cache
def division(itemsize: int, rows: int, columns: int, terms: int, nets: int, over: bool) -> tuple[Cut, int]:
    """The cut with the least estimated time, and the number of slices."""
    found = (_effort(cut, rows, columns, terms, nets, over) for cut in CUTS[itemsize])
    return min(found, key=lambda each: each[0])[1:]


def _effort(cut: Cut, rows: int, columns: int, terms: int, nets: int, over: bool) -> tuple[float, Cut, int]:
    tiles = nets * -(-rows // cut.tall) * -(-columns // cut.broad)
    slices = max(1, min(2 * MULTIPROCESSORS // tiles, terms // FEWEST)) if over and tiles else 1
    time = max(1.0, tiles * slices / MULTIPROCESSORS) * cut.tall * cut.broad * cut.effort * terms / slices
    return time, cut, slices


def constants(dtype: np.dtype, form: str, cut: Cut, together: int) -> dict[str, int]:
    """The upper-case names of the kernel."""
    vec = 16 // dtype.itemsize
    deep = 4 * vec  # two slabs of the largest tiles are 40 KiB
    found = {"TALL": cut.tall, "BROAD": cut.broad, "DEEP": deep, "HEIGHT": cut.height, "BREADTH": cut.breadth}
    found |= {"SUMS": cut.height * cut.breadth, "I_STEP": cut.tall // cut.height, "J_STEP": cut.broad // cut.breadth}
    for name, along, side in (("A", form != OVER, cut.tall), ("B", form == ALONG_BOTH, cut.broad)):
        pitch, lines = (deep + vec, side) if along else (side + vec, deep)
        found |= {name + "_ALONG": int(along), name + "_FIRST": 1 if along else vec, name + "_PITCH": pitch}
        found |= {
            name + "_NEXT": pitch if along else vec,
            name + "_SLAB": pitch * lines,
            name + "_SIZE": 2 * pitch * lines,
        }
    return found | {"THREADS": cut.threads, "TOGETHER": together, "OVER_BATCH": form == OVER}


@cache
def kernel(dtype: np.dtype, form: str, cut: Cut, together: int) -> Any:
    """The product kernel of a form and a cut, which copies so many numbers at once."""
    names: dict[str, Any] = constants(dtype, form, cut, together)
    label = f"{dtype.name}-{cut.tall}x{cut.broad}-{together}"
    for name, side, operand, of_batch in (("left", cut.tall, "A", True), ("right", cut.broad, "B", form == OVER)):
        own = {"SIDE": side, "PITCH": names[operand + "_PITCH"], "ALONG": names[operand + "_ALONG"]}
        names["fetch_" + name] = compiler.part(fetch, f"{name}-{label}", names | own | {"OF_BATCH": of_batch})
    return compiler.kernel(product, label, names, cut.threads)


class Slices:
    """Flat arrays whose sums lie in slices, which are added three arrays at a time."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Any, int]] = []

    def room(self, out: Any, slices: int) -> Any:
        """Where the slices of `out` go: itself, if it is one."""
        if slices == 1:
            return out
        parts = device.empty(slices * out.size, out.dtype)
        self.waiting.append((parts, out, slices))
        return parts

    def add(self) -> None:
        """out = the sum of its slices, of all that have been given room."""
        while self.waiting:
            three, self.waiting = self.waiting[:3], self.waiting[3:]
            three += [(three[0][0], three[0][1][:0], 1)] * (3 - len(three))
            parts, outs, slices = zip(*three, strict=True)
            device.for_each(add_slices, sum(out.size for out in outs), (*parts, *outs, slices))


def multiply(
    form: str, left: tuple, right: tuple, start: Any, out: Any, shape: tuple, cut: Cut | None = None,
    later: Slices | None = None,
) -> None:  # fmt: skip
    """out = start + the products of `form`; left and right are (flat array, first place, from net to net, row to row).

    shape: rows and columns of a network's result, terms, networks, `per`, M. out is flat: over time and batch or, for
    OVER, (K, rows, columns). start is flat (K, columns), or None. cut: another one than `division` finds. later: who
    adds the slices of the sums, together with others.
    """
    rows, columns, terms, nets, per, batch = shape
    if nets * rows * columns == 0:
        return
    dtype, over = out.dtype, form == OVER
    found, slices = division(dtype.itemsize, rows, columns, terms, nets, over)
    cut = cut or found
    vec = 16 // dtype.itemsize
    each = -(-terms // slices // (4 * vec)) * 4 * vec  # whole slabs, so that slices begin at whole vectors
    size = nets * rows * columns
    whole = all(number % vec == 0 for operand in (left, right) for number in operand[1:])
    together = vec if whole and device.at_vector(left[0]) and device.at_vector(right[0]) else 1
    adding = later or Slices()
    parts = adding.room(out, slices)
    blocks = nets * slices * -(-rows // cut.tall) * -(-columns // cut.broad)
    aligned = int(columns * dtype.itemsize % 16 == 0 and device.at_vector(parts))
    where = (*left[1:], *right[1:], 0 if start is None else columns, size, rows * columns if over else per * columns)
    arguments = (left[0], right[0], left[0] if start is None else start, parts)
    sizes = (rows, columns, terms, slices, each, per, batch, *where, columns, aligned)
    device.launch(kernel(dtype, form, cut, together), (blocks, 1, 1), cut.threads, (*arguments, sizes))
    if later is None:
        adding.add()
