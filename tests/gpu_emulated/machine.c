/* The threads of a kernel as fibres on one thread of the CPU: blocks, warps, barriers, shuffles, copies ahead of use.

A fibre runs until it waits for others; which goes on then is the scheduler's choice. Seed 0: warp after warp.
Another seed draws among those that can go on, prefers some warps, so that they run ahead as far as the barriers let
them, and stops threads between two accesses to memory now and then.

Fibres start on their stacks by makecontext and change places by _setjmp and _longjmp, which make no system call. */

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { MOST = 1 << 17, STACK = 1 << 16, LEFT = 4096, LANES = 32, COPIES = 64, MARGIN = 64, POISON = 0xFF };
enum { COLOUR = 13 * 64 }; /* stacks that begin at the same place of the cache would drive each other out of it */
enum { CAN_GO_ON, AT_BARRIER, IN_CLUSTER, IN_WARP, RETURNED };
enum { ANY_LANE, UP, DOWN, XOR };

typedef struct {
    unsigned index[3], begun, arrived, returned;
    char *shared;
    uint32_t site; /* of the barrier in the kernel's code */
} Block;

typedef struct { unsigned arrived, meetings; } Cluster;

typedef struct {
    uint32_t members, arrived, mask;
    uint64_t result[LANES];
    uint32_t value[LANES];
    uint64_t source[LANES];
    uint32_t site; /* of the shuffle */
} Warp;

typedef struct { char *to; const char *from; unsigned bytes, filled, group; } Copy;

typedef struct {
    jmp_buf context;
    int started, state;
    unsigned number, index[3], preference, group, copies, meeting;
    Block *block;
    Warp *warp;
    Copy copy[COPIES];
} Fibre;

typedef struct { const char *begin, *end; } Range;

static Fibre *fibres, home = {.started = 1}, *current = &home;
static char *stacks;
static uint32_t ready[MOST];
static unsigned first, waiting, threads, shared_bytes, cluster_size;
static unsigned grid[3], block_shape[3];
static uint64_t seed, idle;
static Block blocks[MOST];
static Cluster clusters[MOST];
static Warp warps[MOST];
static char *shared_memory;
static void (*entry)(void **);
static void **arguments;
static const Range *ranges;
static unsigned range_count;
static char message[1024];

/* ------------------------------------------------------------------------------------------------- changing places */

static uint64_t draw(void) { /* splitmix64 */
    uint64_t z = seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void body(void);

static char *stack(const Fibre *f) { return stacks + (size_t)(f - fibres) * STACK; }

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

static void fail(const char *text, ...) {
    va_list values;
    va_start(values, text);
    int n = vsnprintf(message, sizeof message, text, values);
    va_end(values);
    if (current != &home)
        snprintf(message + n, sizeof message - n, " (thread %u of block (%u, %u, %u))", current->number,
                 current->block->index[0], current->block->index[1], current->block->index[2]);
    run(&home);
}

static void can_go_on(Fibre *f) {
    f->state = CAN_GO_ON;
    ready[(first + waiting++) % MOST] = (uint32_t)(f - fibres);
}

static void can_go_on_first(Fibre *f) { /* while what it works on is still in the cache */
    f->state = CAN_GO_ON;
    first = (first + MOST - 1) % MOST;
    waiting++;
    ready[first] = (uint32_t)(f - fibres);
}

static void next(void) {
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

static void wait_as(int state) {
    current->state = state;
    next();
}

static void let_others_go(void) {
    can_go_on(current);
    next();
}

/* ----------------------------------------------------------------------------------------- what a kernel calls: places */

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

/* ------------------------------------------------------------------------------------- what a kernel calls: meetings */

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

/* --------------------------------------------------------------------------------------- what a kernel calls: memory */

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

void copies_wait_all_but_1(void) { finish_copies(1); }

/* ---------------------------------------------------------------------------------------------------------- launches */

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
