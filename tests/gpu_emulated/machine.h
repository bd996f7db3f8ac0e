/* Threads as fibres, and what machine.c and calls.c share of them. */

#include <setjmp.h>
#include <stdint.h>

enum { MOST = 1 << 17, STACK = 1 << 16, LEFT = 4096, LANES = 32, COPIES = 64, MARGIN = 64, POISON = 0xFF };
enum { COLOUR = 13 * 64 }; /* stacks that begin at the same place of the cache would drive each other out of it */
enum { CAN_GO_ON, AT_BARRIER, IN_CLUSTER, IN_WARP, RETURNED };

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

extern Fibre *fibres, *current;
extern Block blocks[MOST];
extern Cluster clusters[MOST];
extern unsigned grid[3], block_shape[3], threads, shared_bytes, cluster_size, range_count;
extern char *shared_memory;
extern const Range *ranges;
extern uint64_t seed, idle; /* idle: looks at a number in a loop since anything else happened */

void fail(const char *text, ...);  /* ends the launch */
char *stack(const Fibre *f);
uint64_t draw(void);
void can_go_on(Fibre *f);
void can_go_on_first(Fibre *f); /* while what it works on is still in the cache */
void next(void);                /* another fibre goes on, and this one when it can */
void wait_as(int state);
void let_others_go(void);
