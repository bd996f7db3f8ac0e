/* What the parts of the emulated driver know of each other: driver.c, memory.c, order.c, cubin.c, launch.c. */

#pragma once

#include <cuda.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

/* Write down what the library did wrong; the call that finds it then fails with the error that is returned. */
CUresult complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum { MULTIPROCESSORS = 132, WARP = 32, MOST_THREADS = 1024 }; /* of a block */

int enter(void);
void leave(int *entered);
/* Until the end of the function no other thread is in here. */
#define ALONE int entered __attribute__((cleanup(leave), unused)) = enter()

/* ------------------------------------------------------------------------------------------------ order.c */

#define STREAMS 256

/* How much of every stream's work is known to be done, by a stream, an event, the host. */
typedef struct {
    uint64_t done[STREAMS];
} Clock;

typedef struct {
    int slot;       /* its place in every clock; 0 is the default stream */
    int live;
    int blocking;   /* waits for the default stream, which waits for it */
    Clock clock;
} Stream;

Stream *stream_of(CUstream handle); /* NULL: there is none, or none any more */
void enqueue(Stream *stream);       /* one more piece of work, after all that it has to wait for */
void wait_for(Stream *stream);      /* the host does */
void wait_for_all(void);

/* ----------------------------------------------------------------------------------------------- memory.c */

typedef struct {
    char *start;
    size_t size;
    char *pages;    /* what is mapped for it */
    size_t mapped;
    int live;
    int writer;                  /* the stream that wrote it last, -1: none has */
    uint64_t written;            /* when, on that stream's clock */
    uint64_t read[STREAMS];      /* when each stream read it last */
} Allocation;

Allocation *allocate(size_t size); /* full of 0xFF; before and behind it memory that must not be touched */
void release(Allocation *allocation);
Allocation *allocation_at(uint64_t address); /* the one that this address is in, live or not; NULL: none */
int looks_like_a_pointer(uint64_t value);
CUresult whole(Allocation *allocation, const char *when); /* complains if its surroundings were written to */
size_t live_allocations(void);

/* The allocation around `size` bytes from an address on, if it is live; NULL after a complaint. */
Allocation *checked(uint64_t address, size_t size, const char *what);
/* Complains unless what was last done with the allocation is known, to this stream, to be over. */
CUresult touch(Allocation *allocation, Stream *stream, int writes, const char *what);

extern const char *running; /* the kernel that runs, for the report of a fault */

/* ------------------------------------------------------------------------------------------------ cubin.c */

#define PARAMETERS 256

typedef struct {
    char name[1024];
    int registers;      /* of a thread */
    int most_threads;   /* of a block, as it was compiled for; 0: not said */
    int shared;         /* bytes of a block */
    unsigned cluster[3]; /* blocks that start side by side, along each side of the grid */
    int parameters;
    unsigned short sizes[PARAMETERS];
} Kernel;

int read_cubin(const void *image, Kernel **kernels); /* how many there are; -1: it is none */
