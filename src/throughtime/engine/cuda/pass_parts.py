"""What the passes over time have in common: how their kernels divide the work, and the parts that they are made of.

A pass is one kernel that walks through all of time: nothing is launched per step. What a step reads from memory, but
for what other threads have just computed, is asked for a step ahead. Dimensions as in engine/cpu/loops.py, N units (a
constant here, so that the numbers of a unit's gates lie at constant distances), and

    per    sequences of each network: an ensemble's sequences lie one network after another in the batch
    LANES  neighbouring threads that share the sums of UNITS units, each over its own columns
    ROWS   rows of the batch that a block works on; ROWS * UNITS <= LANES
    TILE   of them are multiplied at once; OWNERS = TILE * UNITS <= 32
    OUT    sums per row: UNITS times the SHARE of an owner, which is the gates, or 1 with transposed weights
    WIDE   COLUMNS of the product, N or, with transposed weights, G*N, and what fills them up with zeros
    WIDTH  numbers that are fetched at once from what others send

A block holds GROUPS * UNITS units of ROWS rows of one network. Lane m*UNITS + u of a group owns unit u of row m: it
knows its state and evaluates the cell. All lanes take part in the product that comes before.

LOCAL: one block holds all N units, or BLOCKS of a cluster do together, and what units send lies in the shared memory of
each. Else the units are divided among blocks of the grid, which hand it over through global memory. All meet once per
step (barrier.py); what nobody waits for is written between arriving there and waiting.
RESIDENT: a thread's weights stay in its registers. Else they come from the cache at every step.

A cell may send several signals, or have a stage (cells/wiring.py). Then the product has the N columns of each signal
and sums for each part that they feed, with zeros where one feeds another part; a stage takes a second product, with
sizes of its own and STAGED signals, and a second meeting in each step. Where nothing is sent there is neither.

The upper-case names and the functions are globals of each compiled copy (pass_kernels.py).
"""

from .copies_ahead import arrived, sent_off
from .register_arrays import add, fill, read, thread
from .thread_exchange import collect, fetch
from .toolkit import cuda

from .kernel_names import (  # isort: skip
    AHEAD, CHUNK, COLUMNS, DEPTH, GROUPS, LANES, LOCAL, MATES, OUT, OWNERS, PARTIALS, PRIVATE, RESIDENT, ROWS, SHARE,
    SHARED_SIZE, SIGNALS, SLAB, STATES, SUMS, THREADS, TILE, UNITS, VEC, WARPS, WIDE, WIDTH, arrive, bring_rows,
    emit_slope, partial_sum, wait,
)  # fmt: skip


def thread_position(first, each):
    """Of this thread: lane, group, network, the first of its block's rows in the network's `each`, and how many."""
    lane, group = cuda.threadIdx.x % LANES, cuda.blockIdx.x * GROUPS + cuda.threadIdx.x // LANES
    parts = (each + ROWS - 1) // ROWS
    net, row0 = (first + cuda.blockIdx.y) // parts, (first + cuda.blockIdx.y) % parts * ROWS
    return lane, group, net, row0, min(ROWS, each - row0)


def own_weights(w, h, weights, place, lane, arrivals):
    """The thread's weights into its registers, and zeros into the shared memory that its rows do not fill."""
    if RESIDENT:
        fill(w, weights, place + lane * VEC, WIDE, OUT, DEPTH, LANES)
    if LOCAL:
        for i in range(cuda.threadIdx.x, SHARED_SIZE, THREADS):
            h[i] = 0
        wait(arrivals, arrive(arrivals))


def rows_times_weights(mine, sums, w, weights, place, h, buffer, source, at, row, rows):
    """mine[g] = sum_k weights[unit, g, k] source[m, k] for the unit u and the row m that this lane owns.

    The source lies in shared memory already (LOCAL), from h[buffer] on, or is fetched: row m from at + m*row on. With
    several tiles the next one is on its way (AHEAD) while one is multiplied.
    """
    lane = thread() % LANES
    part = lane % MATES
    if AHEAD:
        bring_rows(h, 0, source, at, row, rows, COLUMNS, CHUNK, TILE, THREADS)
        sent_off()
    for tile in range((rows + TILE - 1) // TILE if ROWS > TILE else 1):
        first = tile * TILE
        for i in range(SUMS):
            sums[i] = 0
        if LOCAL:
            add(sums, w, h, buffer + first * WIDE + lane * VEC, WIDE, TILE, OUT, DEPTH, LANES)
        elif AHEAD:
            if not PRIVATE:
                arrived(0)
                cuda.syncthreads()
            ahead = first + TILE
            if ahead < rows:
                there = at + ahead * row
                bring_rows(h, (tile + 1 & 1) * SLAB, source, there, row, rows - ahead, COLUMNS, CHUNK, TILE, THREADS)
            sent_off()
            if PRIVATE:
                arrived(1)
            add(sums, w, h, (tile & 1) * SLAB + lane * VEC, CHUNK, TILE, OUT, DEPTH, LANES)
        elif RESIDENT:
            if ROWS > TILE:
                cuda.syncthreads()
            fetch(h, source, at + first * row, row, rows - first, COLUMNS, CHUNK, TILE, WIDTH, THREADS)
            cuda.syncthreads()
            add(sums, w, h, lane * VEC, CHUNK, TILE, OUT, DEPTH, LANES)
        else:
            for low in range(0, WIDE, CHUNK):
                there = at + first * row + low
                fetch(h, source, there, row, rows - first, COLUMNS - low, CHUNK, TILE, WIDTH, THREADS)
                cuda.syncthreads()
                for k in range(lane * VEC, min(CHUNK, WIDE - low), LANES * DEPTH):
                    fill(w, weights, place + low + k, WIDE, OUT, DEPTH, LANES)
                    add(sums, w, h, k, CHUNK, TILE, OUT, DEPTH, LANES)
                cuda.syncthreads()
        collect(sums, sums, part, OWNERS, SHARE, MATES)
        if WARPS > 1:
            if part < OWNERS:
                for i in range(SHARE):
                    h[partial_sum(i, lane // 32) + first * UNITS + part] = sums[i]
        elif lane // OWNERS == tile or ROWS == TILE:
            for i in range(SHARE):
                mine[i] = sums[i]
    if WARPS > 1:
        cuda.syncthreads()
        if lane // UNITS < rows:
            for i in range(SHARE):
                total = sums.dtype.type(0)
                for warp in range(WARPS):
                    total += h[partial_sum(i, warp) + lane]
                mine[i] = total


def place_of_share(i, warp):
    """Where a warp leaves its share of sum i of all owners of its group."""
    return PARTIALS + ((thread() // LANES * SHARE + i) * WARPS + warp) * ROWS * UNITS


def sent_tangent(out, cell, s, v):
    """The perturbation of each signal that a unit sends, for the perturbation v of its state; out has room for them."""
    slope = emit_slope(cell, s)
    for k in range(SIGNALS):
        total = v.dtype.type(0)
        for j in range(STATES):
            total += slope[k * STATES + j] * v[j]
        out[k] = total
    return read(out, 0, 1, SIGNALS)


# Where no unit hears of another: nothing to multiply, nobody to wait for.


def no_weights(w, h, weights, place, lane, arrivals):
    pass


def no_product(mine, sums, w, weights, place, h, buffer, source, at, row, rows):
    pass


def more_weights(w, weights, place, lane):
    """Those of a second product."""
    if RESIDENT:
        fill(w, weights, place + lane * VEC, WIDE, OUT, DEPTH, LANES)
