/* Kernels: libraries of them, what fits on the device, launches. */

#include "emulated.h"
#include <stdlib.h>
#include <string.h>

enum {
    REGISTERS = 65536,              /* of a multiprocessor */
    SHARED = 228 * 1024,            /* bytes of a multiprocessor */
    SHARED_OF_BLOCK = 48 * 1024,    /* unless more is asked for, which nobody does here */
    SHARED_RESERVED = 1024,         /* of each block, for the system */
    RESIDENT = 2048,                /* threads of a multiprocessor */
    RESIDENT_BLOCKS = 32,
    MOST_IN_CLUSTER = 8,            /* unless more is asked for */
};

typedef struct CUlib_st {
    int count;
    Kernel *kernels;
} Library;

EXPORT CUresult cuLibraryLoadData(CUlibrary *out, const void *code, CUjit_option *jit, void **jit_values, unsigned jits,
                                  CUlibraryOption *options, void **values, unsigned count) {
    (void)jit, (void)jit_values, (void)jits, (void)options, (void)values, (void)count;
    Library *made = calloc(1, sizeof *made);
    made->count = read_cubin(code, &made->kernels);
    if (made->count < 0) {
        free(made);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    *out = (CUlibrary)made;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuLibraryUnload(CUlibrary library) {
    free(((Library *)library)->kernels);
    free(library);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuLibraryGetKernel(CUkernel *out, CUlibrary library, const char *name) {
    Library *from = (Library *)library;
    for (int i = 0; i < from->count; i++)
        if (!strcmp(from->kernels[i].name, name)) {
            *out = (CUkernel)&from->kernels[i];
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}

EXPORT CUresult cuLibraryGetGlobal(CUdeviceptr *start, size_t *size, CUlibrary library, const char *name) {
    (void)start, (void)size, (void)library, (void)name;
    return CUDA_ERROR_NOT_FOUND;
}

/* Kernels and functions have the same handles here. */
EXPORT CUresult cuKernelGetFunction(CUfunction *out, CUkernel kernel) {
    *out = (CUfunction)kernel;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    const Kernel *kernel = (const Kernel *)function;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = kernel->most_threads ? kernel->most_threads : MOST_THREADS; break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = kernel->shared; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = kernel->registers; break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = 0; break;
    default: return CUDA_ERROR_NOT_SUPPORTED;
    }
    return CUDA_SUCCESS;
}

EXPORT CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device) {
    (void)device;
    return cuFuncGetAttribute(value, attribute, (CUfunction)kernel);
}

static int blocks_of_multiprocessor(const Kernel *kernel, int threads, size_t shared) {
    int warps = (threads + WARP - 1) / WARP, of_warp = (kernel->registers * WARP + 255) / 256 * 256;
    int most = RESIDENT_BLOCKS, by_threads = RESIDENT / (warps * WARP);
    int by_registers = of_warp ? REGISTERS / (of_warp * warps) : most;
    int by_shared = (int)(SHARED / ((size_t)kernel->shared + shared + SHARED_RESERVED));
    most = most < by_threads ? most : by_threads;
    most = most < by_registers ? most : by_registers;
    return most < by_shared ? most : by_shared;
}

EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared) {
    *blocks = blocks_of_multiprocessor((const Kernel *)function, threads, shared);
    return CUDA_SUCCESS;
}

typedef int (*Launch)(const char *name, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, int cooperative, void **parameters);
static Launch launcher;

/* Who runs a kernel; NULL: nobody, and it does nothing. What they return, unless 0, is a failed launch. The one before. */
EXPORT Launch emulated_set_launch(Launch launch) {
    Launch before = launcher;
    launcher = launch;
    return before;
}

static uint64_t digest(const Allocation *allocation) {
    uint64_t found = allocation->size, word = 0;
    for (size_t i = 0; i < allocation->size; i += 8) {
        size_t rest = allocation->size - i;
        memcpy(&word, allocation->start + i, rest < 8 ? rest : 8);
        found = (found ^ word) * 0x9E3779B97F4A7C15u;
        found ^= found >> 29;
    }
    return found;
}

/* The allocations that a kernel was given; what changes in them it has written, the others it is taken to have read. */
static CUresult run(const Kernel *kernel, const CUlaunchConfig *config, int cooperative, void **parameters) {
    Stream *stream = stream_of(config->hStream);
    Allocation *given[PARAMETERS];
    uint64_t was[PARAMETERS];
    int count = 0;
    CUresult result = CUDA_SUCCESS;
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    enqueue(stream);
    for (int i = 0; i < kernel->parameters; i++) {
        uint64_t value;
        if (kernel->sizes[i] != sizeof value) continue;
        memcpy(&value, parameters[i], sizeof value);
        if (!looks_like_a_pointer(value)) continue;
        Allocation *found = checked(value, 1, kernel->name);
        if (!found) return CUDA_ERROR_ILLEGAL_ADDRESS;
        for (int j = 0; j < count && found; j++)
            if (given[j] == found) found = NULL;
        if (found) given[count++] = found;
    }
    for (int i = 0; i < count; i++) {
        was[i] = digest(given[i]);
        if (touch(given[i], stream, 0, kernel->name)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    running = kernel->name;
    if (launcher && launcher(kernel->name, config->gridDimX, config->gridDimY, config->gridDimZ, config->blockDimX,
                             config->blockDimY, config->blockDimZ, config->sharedMemBytes, cooperative, parameters))
        result = CUDA_ERROR_LAUNCH_FAILED;
    running = NULL;
    for (int i = 0; i < count; i++) {
        if (digest(given[i]) != was[i] && touch(given[i], stream, 1, kernel->name)) result = CUDA_ERROR_ILLEGAL_ADDRESS;
        if (whole(given[i], kernel->name)) result = CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    return result;
}

EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
    ALONE;
    const Kernel *kernel = (const Kernel *)function;
    size_t blocks = (size_t)config->gridDimX * config->gridDimY * config->gridDimZ;
    size_t threads = (size_t)config->blockDimX * config->blockDimY * config->blockDimZ;
    int cooperative = 0;
    for (unsigned i = 0; i < config->numAttrs; i++) {
        if (config->attrs[i].id != CU_LAUNCH_ATTRIBUTE_COOPERATIVE) return CUDA_ERROR_NOT_SUPPORTED;
        cooperative = config->attrs[i].value.cooperative;
    }
    if (extra) return CUDA_ERROR_NOT_SUPPORTED;
    if (!blocks || !threads || threads > MOST_THREADS || config->gridDimX > 0x7FFFFFFF || config->gridDimY > 65535 ||
        config->gridDimZ > 65535 || config->blockDimZ > 64)
        return CUDA_ERROR_INVALID_VALUE;
    if (kernel->most_threads && threads > (size_t)kernel->most_threads) return CUDA_ERROR_INVALID_VALUE;
    if ((size_t)kernel->shared + config->sharedMemBytes > SHARED_OF_BLOCK) return CUDA_ERROR_INVALID_VALUE;
    const unsigned *side = kernel->cluster;
    if (config->gridDimX % side[0] || config->gridDimY % side[1] || config->gridDimZ % side[2] ||
        side[0] * side[1] * side[2] > MOST_IN_CLUSTER)
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    size_t at_once = (size_t)blocks_of_multiprocessor(kernel, (int)threads, config->sharedMemBytes);
    if (!at_once) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    if (cooperative && blocks > at_once * MULTIPROCESSORS) return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    return run(kernel, config, cooperative, parameters);
}

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                               unsigned bz, unsigned shared, CUstream stream, void **parameters, void **extra) {
    CUlaunchConfig config = {.gridDimX = gx, .gridDimY = gy, .gridDimZ = gz, .blockDimX = bx, .blockDimY = by,
                             .blockDimZ = bz, .sharedMemBytes = shared, .hStream = stream};
    return cuLaunchKernelEx(&config, function, parameters, extra);
}
