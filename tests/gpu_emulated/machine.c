/* The threads of a kernel as fibres on one thread of the CPU: blocks, warps, barriers, shuffles, copies ahead of use.

A fibre runs until it waits for others; which goes on then is the scheduler's choice. Seed 0: warp after warp.
Another seed draws among those that can go on, prefers some warps, so that they run ahead as far as the barriers let
them, and stops threads between two accesses to memory now and then.

Fibres start on their stacks by makecontext and change places by _setjmp and _longjmp, which make no system call. */

#include "machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static Fibre home = {.started = 1};
Fibre *fibres, *current = &home;
Block blocks[MOST];
Cluster clusters[MOST];
unsigned grid[3], block_shape[3], threads, shared_bytes, cluster_size, range_count;
char *shared_memory;
const Range *ranges;
uint64_t seed, idle;
static Warp warps[MOST];
static char *stacks;
static uint32_t ready[MOST];
static unsigned first, waiting;
static void (*entry)(void **);
static void **arguments;
static char message[1024];

/* -------------------------------------------------------------------------------------------------- changing places */

uint64_t draw(void) { /* splitmix64 */
    uint64_t z = seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void body(void);

char *stack(const Fibre *f) { return stacks + (size_t)(f - fibres) * STACK; }

static void run(Fibre *next) {
    static ucontext_t start;
    Fibre *before = current;
    if (next == before) return;
    current = next;
    if (_setjmp(before->context)) return;
    if (next->started) _longjmp(next->context, 1);
    getcontext(&start);
    start.uc_stack.ss_sp = stack(next);
    start.uc_stack.ss_size = STACK - (next - fibres) % LANES * COLOUR;
    makecontext(&start, body, 0);
    next->started = 1;
    setcontext(&start);
}

void fail(const char *text, ...) {
    va_list values;
    va_start(values, text);
    int n = vsnprintf(message, sizeof message, text, values);
    va_end(values);
    if (current != &home)
        snprintf(message + n, sizeof message - n, " (thread %u of block (%u, %u, %u))", current->number,
                 current->block->index[0], current->block->index[1], current->block->index[2]);
    run(&home);
}

void can_go_on(Fibre *f) {
    f->state = CAN_GO_ON;
    ready[(first + waiting++) % MOST] = (uint32_t)(f - fibres);
}

void can_go_on_first(Fibre *f) {
    f->state = CAN_GO_ON;
    first = (first + MOST - 1) % MOST;
    waiting++;
    ready[first] = (uint32_t)(f - fibres);
}

void next(void) {
    char here;
    if (current != &home && &here < stack(current) + LEFT) fail("a stack of %d bytes is too small", STACK);
    if (!waiting) {
        run(&home);
        return;
    }
    if (seed) {
        unsigned a = (first + draw() % waiting) % MOST, b = (first + draw() % waiting) % MOST;
        unsigned chosen = fibres[ready[a]].preference > fibres[ready[b]].preference ? a : b;
        uint32_t swapped = ready[chosen];
        ready[chosen] = ready[first];
        ready[first] = swapped;
    }
    Fibre *f = fibres + ready[first];
    first = (first + 1) % MOST;
    waiting--;
    run(f);
}

void wait_as(int state) {
    current->state = state;
    next();
}

void let_others_go(void) {
    can_go_on(current);
    next();
}

/* --------------------------------------------------------------------------------------------------------- launches */

static void body(void) {
    for (;;) {
        current->block->begun++;
        entry(arguments);
        idle = 0;
        Block *b = current->block;
        if (current->meeting) fail("a thread returns that has arrived where its cluster meets, and has not waited");
        if (b->arrived) fail("a barrier that this thread does not reach, where %u threads wait", b->arrived);
        if (current->warp->arrived) fail("other lanes of the warp wait for a thread that returns");
        b->returned++;
        wait_as(RETURNED);
    }
}

static void begin(unsigned slot, unsigned place, char *shared) {
    unsigned per = (threads + LANES - 1) / LANES;
    unsigned index[] = {place % grid[0], place / grid[0] % grid[1], place / grid[0] / grid[1]};
    Block *b = blocks + slot;
    memset(b, 0, sizeof *b);
    memcpy(b->index, index, sizeof index);
    b->shared = shared + MARGIN;
    memset(shared, POISON, shared_bytes + 2 * MARGIN);
    memset(warps + slot * per, 0, per * sizeof *warps);
    for (unsigned k = 0; k < threads; k++) {
        Fibre *f = fibres + slot * threads + k;
        unsigned own[] = {k % block_shape[0], k / block_shape[0] % block_shape[1], k / block_shape[0] / block_shape[1]};
        f->number = k;
        memcpy(f->index, own, sizeof own);
        f->group = f->copies = f->meeting = 0;
        f->block = b;
        f->warp = warps + slot * per + k / LANES;
        f->warp->members |= 1u << k % LANES;
        f->preference = k % LANES ? fibres[slot * threads + k - 1].preference : seed ? (unsigned)draw() : 0;
        can_go_on(f);
    }
}

static int intact(const char *shared) {
    for (unsigned k = 0; k < MARGIN; k++)
        if (shared[k] != (char)POISON || shared[MARGIN + shared_bytes + k] != (char)POISON) return 0;
    return 1;
}

static void finish(unsigned count) {
    next();
    unsigned states[RETURNED + 1] = {0};
    for (unsigned k = 0; k < count * threads; k++) states[fibres[k].state]++;
    if (!message[0] && states[RETURNED] < count * threads)
        fail("no thread can go on: %u wait at barriers, %u for their clusters, %u for their warps, %u have returned",
             states[AT_BARRIER], states[IN_CLUSTER], states[IN_WARP], states[RETURNED]);
    for (unsigned k = 0; k < count * threads && message[0]; k++) fibres[k].started = 0; /* they hang in mid-kernel */
}

/* Runs a kernel on a grid; 0, or what went wrong. Blocks that meet live at once, others one after another. */
const char *machine_launch(void (*kernel)(void **), void **given, const unsigned *blocks_of, const unsigned *threads_of,
                           unsigned bytes, int together, unsigned side_by_side, uint64_t chosen, const Range *known,
                           unsigned count) {
    memcpy(grid, blocks_of, sizeof grid);
    memcpy(block_shape, threads_of, sizeof block_shape);
    entry = kernel, arguments = given, ranges = known, range_count = count, seed = chosen;
    threads = block_shape[0] * block_shape[1] * block_shape[2];
    shared_bytes = (bytes + MARGIN - 1) / MARGIN * MARGIN;
    cluster_size = side_by_side;
    unsigned all = grid[0] * grid[1] * grid[2], slots = together ? all : cluster_size;
    if (grid[0] % cluster_size) {
        snprintf(message, sizeof message, "%u blocks in clusters of %u", grid[0], cluster_size);
        return message;
    }
    first = waiting = 0, idle = 0, message[0] = 0, current = &home;
    if ((uint64_t)slots * threads > MOST) {
        fail("%u blocks of %u threads at once, more than %d threads", slots, threads, MOST);
        return message;
    }
    size_t each = shared_bytes + 2 * MARGIN, size = each * slots;
    int rights = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (!fibres) {
        fibres = mmap(NULL, MOST * sizeof *fibres, rights, kind, -1, 0);
        stacks = mmap(NULL, (size_t)MOST * STACK, rights, kind, -1, 0);
    }
    char *shared = shared_memory = mmap(NULL, size, rights, kind, -1, 0);
    if (fibres == MAP_FAILED || stacks == MAP_FAILED || shared == MAP_FAILED) return "no memory for the threads";
    unsigned turn = seed && !together ? (unsigned)draw() % (all / slots) * slots : 0;
    for (unsigned place = 0; place < all && !message[0]; place += slots) {
        memset(clusters, 0, slots / cluster_size * sizeof *clusters);
        for (unsigned slot = 0; slot < slots; slot++) begin(slot, (place + slot + turn) % all, shared + slot * each);
        finish(slots);
        for (unsigned slot = 0; slot < slots && !message[0]; slot++)
            if (!intact(shared + slot * each)) fail("a write beside the shared memory of block %u", place + slot);
    }
    munmap(shared, size);
    return message[0] ? message : NULL;
}
