/* Device memory: pages of the host, each allocation between pages that nobody may touch.

   An allocation ends where its pages end, but for what a multiple of 256 bytes asks for, and is full of NaN at first.
   What a kernel reads or writes beyond it is a fault, or shows in the bytes around it. Addresses are used once, so that
   what has been freed is not mistaken for what came after it. */

#define _GNU_SOURCE
#include "emulated.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA ((size_t)1 << 42) /* bytes of addresses, not of memory */
#define PAGE 4096
#define ALIGNED 256 /* what cuMemAlloc promises */

static char *arena, *next;
static Allocation **all; /* in the order of their addresses */
static size_t count, room, live;
static struct sigaction before;
const char *running;

static size_t up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* A fault in the device's memory says where, then goes on to the handler that was there before. */
static void fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    char *address = info->si_addr;
    if (address >= arena && address < arena + ARENA) {
        char line[1400];
        Allocation *nearest = NULL;
        for (size_t i = 0; i < count && all[i]->pages <= address; i++) nearest = all[i];
        if (!nearest) nearest = count ? all[0] : NULL;
        int n = snprintf(line, sizeof line, "emulated device: %s touched %p", running ? running : "the host", address);
        if (nearest)
            n += snprintf(line + n, sizeof line - n, ", %td bytes from the start of an allocation of %zu bytes%s",
                          address - nearest->start, nearest->size, nearest->live ? "" : " that was freed");
        line[n++] = '\n';
        if (write(2, line, n) < 0) _exit(2);
    }
    sigaction(signal, &before, NULL);
}

static void reserve(void) {
    static char stack[1 << 16]; /* a fault may be the end of a small stack */
    arena = next = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED) abort();
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&other, NULL);
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, &before);
}

Allocation *allocate(size_t size) {
    if (!arena) reserve();
    size_t length = up(size, ALIGNED), mapped = up(length, PAGE);
    if (next + mapped + 2 * PAGE > arena + ARENA) return NULL;
    char *pages = next + PAGE;
    if (mprotect(pages, mapped, PROT_READ | PROT_WRITE)) return NULL;
    memset(pages, 0xFF, mapped);
    next = pages + mapped;
    Allocation *made = calloc(1, sizeof *made);
    *made = (Allocation){pages + mapped - length, size, pages, mapped, 1, -1, 0, {0}};
    if (count == room) all = realloc(all, (room = 2 * room + 64) * sizeof *all);
    all[count++] = made;
    live++;
    return made;
}

void release(Allocation *allocation) {
    allocation->live = 0;
    live--;
    mprotect(allocation->pages, allocation->mapped, PROT_NONE);
    madvise(allocation->pages, allocation->mapped, MADV_DONTNEED);
}

size_t live_allocations(void) { return live; }

Allocation *allocation_at(uint64_t address) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uint64_t)all[middle]->start <= address) low = middle + 1;
        else high = middle;
    }
    if (!low) return NULL;
    Allocation *found = all[low - 1];
    return address < (uint64_t)found->start + found->size ? found : NULL;
}

int looks_like_a_pointer(uint64_t value) { return value >> 40 && !(value >> 47); }

CUresult whole(Allocation *allocation, const char *when) {
    char *end = allocation->start + allocation->size, *last = allocation->pages + allocation->mapped;
    CUresult result = CUDA_SUCCESS;
    for (char *p = allocation->start == allocation->pages ? end : allocation->pages; p < last; p++) {
        if (*p != (char)0xFF) {
            if (!result)
                result = complain("%s: written to byte %td of an allocation of %zu bytes", when, p - allocation->start,
                                  allocation->size);
            *p = (char)0xFF;
        }
        if (p + 1 == allocation->start) p = end - 1;
    }
    return result;
}

Allocation *checked(uint64_t address, size_t size, const char *what) {
    Allocation *found = allocation_at(address);
    if (!found) complain("%s: %#lx is no address in device memory", what, address);
    else if (!found->live) complain("%s: %#lx is in an allocation of %zu bytes that was freed", what, address, found->size);
    else if (address + size > (uint64_t)found->start + found->size)
        complain("%s: %zu bytes from byte %lu of an allocation of %zu bytes", what, size,
                 address - (uint64_t)found->start, found->size);
    else return found;
    return NULL;
}

CUresult touch(Allocation *allocation, Stream *stream, int writes, const char *what) {
    const uint64_t *done = stream->clock.done;
    int writer = allocation->writer;
    if (writer >= 0 && done[writer] < allocation->written)
        return complain("%s on stream %d does not wait for stream %d, which wrote what it %s (%zu bytes)", what,
                        stream->slot, writer, writes ? "writes" : "reads", allocation->size);
    for (int other = 0; writes && other < STREAMS; other++)
        if (done[other] < allocation->read[other])
            return complain("%s on stream %d does not wait for stream %d, which reads what it writes (%zu bytes)", what,
                            stream->slot, other, allocation->size);
    if (writes) {
        allocation->writer = stream->slot;
        allocation->written = done[stream->slot];
    } else
        allocation->read[stream->slot] = done[stream->slot];
    return CUDA_SUCCESS;
}
