"""Householder's reflections on a frame as in batched_qr.py, for frames that no other method decomposes."""

import math

from .kernel_names import INFINITY, LANES, ONE, THREADS, ZERO, added, greatest
from .register_arrays import thread
from .toolkit import cuda


def reflect(frames, at, w, squares, taus, sizes, order, place, log_r, log_at, scaled, K, S, rank):
    """Householder QR with the rows sorted by size; `scaled`: of the frame with rows of size one, Q times the sizes.

    Diagonals are stored in w[squares], then as logarithms added to log_r: -inf where `scaled` finds a lost rank.
    """
    tid = thread()
    lane = tid % LANES
    for s in range(tid, S, THREADS):
        size = ZERO
        for k in range(K):
            size = max(size, abs(frames[at + k * S + s]))
        w[sizes + s] = size
        if scaled and size > ZERO:
            for k in range(K):
                frames[at + k * S + s] /= size
    cuda.syncthreads()
    for s in range(tid, S, THREADS):
        size, before = w[sizes + s], 0
        for r in range(S):
            if w[sizes + r] > size or (w[sizes + r] == size and r < s):
                before += 1
        order[place + s] = before
    cuda.syncthreads()
    for i in range(K):
        mine, largest, pivot, total, tau = at + i * S, ZERO, ZERO, ZERO, ZERO
        for s in range(lane, S, LANES):
            if order[place + s] >= i:
                largest = max(largest, abs(frames[mine + s]))
            if order[place + s] == i:
                pivot = frames[mine + s]
        largest, pivot = greatest(largest), added(pivot)
        if largest > ZERO:
            for s in range(lane, S, LANES):
                if order[place + s] >= i:
                    total += frames[mine + s] / largest * (frames[mine + s] / largest)
        length = math.sqrt(added(total))
        cuda.syncthreads()
        if largest > ZERO:
            shifted = abs(pivot) / largest + length  # |pivot - R_ii| / largest
            tau = shifted / length
            for s in range(tid, S, THREADS):
                if order[place + s] > i:
                    u = frames[mine + s] / largest / shifted
                    frames[mine + s] = u if pivot >= ZERO else -u
        if tid == 0:
            w[squares + i], w[taus + i] = length * largest, tau
        cuda.syncthreads()
        mirror(frames, at, order, place, i, tau, True, K, S)
        cuda.syncthreads()
    for i in range(tid, K, THREADS):
        largest, diagonal = ZERO, w[squares + i]
        for k in range(K):
            largest = max(largest, w[squares + k])
        if diagonal > ZERO and not (scaled and diagonal <= rank * largest):
            log_r[log_at + i] += math.log(diagonal)
        else:
            log_r[log_at + i] = -INFINITY
    for back in range(K):
        i = K - 1 - back
        tau, mine = w[taus + i], at + i * S
        mirror(frames, at, order, place, i, tau, False, K, S)
        cuda.syncthreads()
        for s in range(tid, S, THREADS):
            if order[place + s] > i:
                frames[mine + s] *= -tau
            else:
                frames[mine + s] = ONE - tau if order[place + s] == i else ZERO
        cuda.syncthreads()
    if scaled:
        for s in range(tid, S, THREADS):
            size = w[sizes + s] if w[sizes + s] > ZERO else ONE
            for k in range(K):
                frames[at + k * S + s] *= size
    cuda.syncthreads()


def mirror(frames, at, order, place, i, tau, inner, K, S):
    """Columns after i lose tau u (u . column), where u is 1 in row i and stored in column i below it.

    `inner`: row i of these columns is there already; else it is still 0.
    """
    tid = thread()
    lane, group = tid % LANES, tid // LANES
    for low in range(i + 1, K, THREADS // LANES):
        other, total = at + (low + group) * S, ZERO
        if low + group < K:
            for s in range(lane, S, LANES):
                if order[place + s] > i:
                    total += frames[at + i * S + s] * frames[other + s]
                elif order[place + s] == i and inner:
                    total += frames[other + s]
        total = tau * added(total)
        if low + group < K:
            for s in range(lane, S, LANES):
                if order[place + s] > i:
                    frames[other + s] -= total * frames[at + i * S + s]
                elif order[place + s] == i:
                    frames[other + s] = frames[other + s] - total if inner else -total
