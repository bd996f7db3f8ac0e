/* What kernels call in place of the device's instructions (the tables of translation.py name these functions). */

#include "machine.h"

#include <math.h>
#include <string.h>

enum { ANY_LANE, UP, DOWN, XOR };

/* ----------------------------------------------------------------------------------------------------------- places */

uint32_t tid_x(void) { return current->index[0]; }
uint32_t tid_y(void) { return current->index[1]; }
uint32_t tid_z(void) { return current->index[2]; }
uint32_t ctaid_x(void) { return current->block->index[0]; }
uint32_t ctaid_y(void) { return current->block->index[1]; }
uint32_t ctaid_z(void) { return current->block->index[2]; }
uint32_t ntid_x(void) { return block_shape[0]; }
uint32_t ntid_y(void) { return block_shape[1]; }
uint32_t ntid_z(void) { return block_shape[2]; }
uint32_t nctaid_x(void) { return grid[0]; }
uint32_t nctaid_y(void) { return grid[1]; }
uint32_t nctaid_z(void) { return grid[2]; }
uint32_t laneid(void) { return current->number % LANES; }
void *shared_at(uint32_t offset) { return current->block->shared + offset; }

/* --------------------------------------------------------------------------------------------------------- meetings */

void barrier(uint32_t site) {
    Block *b = current->block;
    if (b->arrived && b->site != site) fail("threads of a block meet at two different barriers");
    if (b->returned) fail("a barrier, when %u threads of the block have returned", b->returned);
    b->site = site;
    if (++b->arrived < threads) {
        wait_as(AT_BARRIER);
        return;
    }
    b->arrived = 0;
    idle = 0;
    for (unsigned k = 0; k < threads; k++) can_go_on(fibres + (b - blocks) * threads + k);
    next();
}

void cluster_arrive(void) {
    unsigned slot = (unsigned)(current->block - blocks);
    Cluster *c = clusters + slot / cluster_size;
    if (current->meeting) fail("a thread arrives twice where the cluster meets once");
    current->meeting = c->meetings + 1;
    if (++c->arrived < cluster_size * threads) return;
    c->arrived = 0;
    c->meetings++;
    idle = 0;
    unsigned base = slot / cluster_size * cluster_size * threads;
    for (unsigned k = base; k < base + cluster_size * threads; k++)
        if (fibres[k].state == IN_CLUSTER) can_go_on(fibres + k);
}

void cluster_wait(void) {
    Cluster *c = clusters + (current->block - blocks) / cluster_size;
    if (!current->meeting) fail("a thread waits for its cluster and has not arrived");
    if (c->meetings < current->meeting) wait_as(IN_CLUSTER);
    current->meeting = 0;
}

static uint64_t meet_in_warp(uint32_t mask, uint32_t value, int source, uint32_t site) {
    Warp *w = current->warp;
    unsigned lane = current->number % LANES;
    uint32_t wanted = mask & w->members;
    if (!(mask >> lane & 1)) fail("lane %u is not among the lanes %#x that meet", lane, mask);
    if (w->arrived && (w->mask != mask || w->site != site)) fail("lanes of a warp meet in two different places");
    w->mask = mask;
    w->site = site;
    w->value[lane] = value;
    w->source[lane] = source;
    w->arrived |= 1u << lane;
    if (w->arrived != wanted) {
        wait_as(IN_WARP);
        return w->result[lane];
    }
    w->arrived = 0;
    idle = 0;
    for (unsigned k = 0; k < LANES; k++)
        if (wanted >> k & 1) {
            if (!(wanted >> w->source[k] & 1)) fail("lane %u asks lane %u, which does not take part", k, w->source[k]);
            w->result[k] = w->value[w->source[k]];
            can_go_on_first(current - lane + k);
        }
    next();
    return w->result[lane];
}

void warp_barrier(uint32_t mask, uint32_t site) {
    meet_in_warp(mask, 0, current->number % LANES, site);
}

typedef struct { uint64_t value, inside; } Shuffled; /* in the registers of LLVM's {i32, i1} */

Shuffled shuffle(uint32_t mask, uint32_t mode, uint32_t value, uint32_t by, uint32_t clamp, uint32_t site) {
    int lane = (int)(current->number % LANES), source = (int)(by % LANES);
    if (mode == UP) source = lane - (int)by;
    if (mode == DOWN) source = lane + (int)by;
    if (mode == XOR) source = lane ^ (int)by;
    int inside = source >= 0 && source < LANES;
    if (clamp != (mode == UP ? 0 : LANES - 1)) fail("a shuffle among parts of a warp, which is not emulated");
    Shuffled found = {meet_in_warp(mask, value, inside ? source : lane, site), (uint64_t)inside};
    return found;
}

/* ----------------------------------------------------------------------------------------------------------- memory */

void check(const char *at, uint32_t bytes, uint32_t alignment) {
    const char *own = stack(current), *shared = current->block->shared;
    if ((uintptr_t)at % alignment) fail("%u bytes at %p, which is no multiple of %u", bytes, (void *)at, alignment);
    if (at >= own && at + bytes <= own + STACK) return;
    if (seed && draw() % 64 == 0) let_others_go();
    if (at >= shared && at + bytes <= shared + shared_bytes) return;
    for (unsigned k = 0; k < range_count; k++)
        if (at >= ranges[k].begin && at + bytes <= ranges[k].end) return;
    if (range_count) fail("%u bytes at %p, outside of all arrays", bytes, (void *)at);
}

/* Addresses in shared memory have 32 bits; here they are the lowest of the true ones. */
uint32_t address_in_block(uint32_t own, uint32_t rank) {
    Block *b = current->block;
    uint32_t offset = own - (uint32_t)(uintptr_t)b->shared;
    if (rank >= cluster_size) fail("block %u of a cluster of %u", rank, cluster_size);
    return (uint32_t)(uintptr_t)blocks[(b - blocks) / cluster_size * cluster_size + rank].shared + offset;
}

static void store_in_cluster(uint32_t at, const void *value, unsigned bytes) {
    char *there = shared_memory + (uint32_t)(at - (uint32_t)(uintptr_t)shared_memory);
    Block *b = blocks + (current->block - blocks) / cluster_size * cluster_size;
    for (unsigned rank = 0; rank < cluster_size; rank++, b++)
        if (there >= b->shared && there + bytes <= b->shared + shared_bytes) {
            if (at % bytes) fail("%u bytes to %u, which is no multiple of that", bytes, at);
            if (!b->begun) fail("a write into the shared memory of a block that has not begun");
            if (b->returned) fail("a write into the shared memory of a block whose threads have returned");
            memcpy(there, value, bytes);
            return;
        }
    fail("%u bytes to %u, outside of the cluster's shared memory", bytes, at);
}

void store_in_cluster_float(uint32_t at, float value) { store_in_cluster(at, &value, sizeof value); }
void store_in_cluster_double(uint32_t at, double value) { store_in_cluster(at, &value, sizeof value); }

/* As rough as PTX allows: wrong in the last place, and without the lower half of a double. */
float reciprocal_float(float x) { return nextafterf(1 / x, 0); }

double reciprocal_double(double x) {
    double found = 1 / x;
    uint64_t bits;
    memcpy(&bits, &found, sizeof bits);
    bits &= ~(uint64_t)0xFFFFFFFF;
    memcpy(&found, &bits, sizeof bits);
    return found;
}

uint32_t add_release(uint32_t *at, uint32_t value) {
    check((const char *)at, sizeof *at, sizeof *at);
    uint32_t before = *at;
    *at += value;
    idle = 0;
    return before;
}

uint32_t load_acquire(const uint32_t *at) { /* threads wait in a loop around it */
    check((const char *)at, sizeof *at, sizeof *at);
    if (++idle > 100000 + 64ull * MOST) fail("threads wait in a loop for what never comes");
    let_others_go();
    return *at;
}

/* A copy begins with what cannot be used in its place, and is made as late as it may be. */
static void copy(uint32_t to, const char *from, uint32_t filled, uint32_t bytes) {
    uint32_t offset = to - (uint32_t)(uintptr_t)current->block->shared;
    if (current->copies == COPIES) fail("more than %d copies at once", COPIES);
    if (offset % bytes || (uint64_t)offset + bytes > shared_bytes)
        fail("a copy of %u bytes to place %u of %u bytes of shared memory", bytes, offset, shared_bytes);
    if (filled > bytes) fail("%u bytes copied into %u", filled, bytes);
    if (filled) check(from, filled, bytes);
    Copy c = {current->block->shared + offset, from, bytes, filled, current->group};
    current->copy[current->copies++] = c;
    memset(c.to, POISON, bytes);
}

void copy_4(uint32_t to, const char *from, uint32_t filled) { copy(to, from, filled, 4); }
void copy_8(uint32_t to, const char *from, uint32_t filled) { copy(to, from, filled, 8); }
void copy_16(uint32_t to, const char *from, uint32_t filled) { copy(to, from, filled, 16); }
void copies_end_group(void) { current->group++; }

static void finish_copies(unsigned but) {
    unsigned kept = 0;
    for (unsigned k = 0; k < current->copies; k++) {
        Copy c = current->copy[k];
        if (current->group - c.group <= but) {
            current->copy[kept++] = c;
            continue;
        }
        memcpy(c.to, c.from, c.filled);
        memset(c.to + c.filled, 0, c.bytes - c.filled);
    }
    current->copies = kept;
}

void copies_wait_all(void) { finish_copies(0); }

void copies_wait_all_but_1(void) { finish_copies(1); }
