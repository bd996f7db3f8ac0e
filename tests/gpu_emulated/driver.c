/* A library that stands in for libcuda.so.1: what numba-cuda, cuda.core and cuda.bindings ask of it, on the CPU.

   One device, whose memory is the host's. Kernels are run by whoever has set `emulated_set_launch`. What a device would
   bear in silence, or not in every run, is refused with a sentence: see memory.c and order.c. */

#define _GNU_SOURCE
#include "emulated.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY ((size_t)8 << 30) /* bytes, as it says when asked */

static pthread_mutex_t one = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

int enter(void) { return pthread_mutex_lock(&one); }
void leave(int *entered) { (void)entered, pthread_mutex_unlock(&one); }

/* ---------------------------------------------------------------------------------------------- complaints */

static char complaints[1 << 16];

CUresult complain(const char *format, ...) {
    size_t n = strlen(complaints);
    va_list values;
    va_start(values, format);
    if (n < sizeof complaints - 2) {
        n += (size_t)vsnprintf(complaints + n, sizeof complaints - n - 1, format, values);
        if (n < sizeof complaints - 1) strcpy(complaints + n, "\n");
    }
    va_end(values);
    return CUDA_ERROR_ILLEGAL_ADDRESS;
}

/* What was complained about since the last call, a line each. */
EXPORT const char *emulated_complaints(void) {
    static char taken[sizeof complaints];
    strcpy(taken, complaints);
    complaints[0] = 0;
    return taken;
}

EXPORT size_t emulated_allocations(void) { return live_allocations(); }

/* ------------------------------------------------------------------------------- the library and its device */

EXPORT CUresult cuGetProcAddress(const char *name, void **function, int version, cuuint64_t flags,
                                 CUdriverProcAddressQueryResult *status) {
    (void)version, (void)flags;
    static const char *const endings[] = {"_v4", "_v3", "_v2", ""};
    static void *self;
    Dl_info own;
    if (!self && dladdr((void *)cuGetProcAddress, &own)) self = dlopen(own.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
    *function = NULL;
    for (int i = 0; i < 4 && !*function; i++) {
        char whole[256];
        snprintf(whole, sizeof whole, "%s%s", name, endings[i]);
        *function = dlsym(self, whole);
    }
    if (status) *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

#define ANSWER(name, parameters, what) \
    EXPORT CUresult name parameters {  \
        what;                          \
        return CUDA_SUCCESS;           \
    }

#define ONCE_BEGUN(name, parameters, what)              \
    EXPORT CUresult name parameters {                   \
        if (!begun) return CUDA_ERROR_NOT_INITIALIZED;  \
        what;                                           \
        return CUDA_SUCCESS;                            \
    }

static int context_of_device; /* its address is the handle */
#define CONTEXT ((CUcontext) & context_of_device)
static __thread CUcontext current;

static int begun; /* whether cuInit was called, before which nothing is answered */
ANSWER(cuInit, (unsigned flags), (void)flags; begun = 1)
ANSWER(cuDriverGetVersion, (int *version), *version = 13000)
ONCE_BEGUN(cuDeviceGetCount, (int *count), *count = 1)
ONCE_BEGUN(cuDeviceGet, (CUdevice * device, int ordinal), *device = ordinal)
ONCE_BEGUN(cuDeviceGetName, (char *name, int size, CUdevice d), (void)d; snprintf(name, (size_t)size, "an emulated device"))
ONCE_BEGUN(cuDeviceGetUuid, (CUuuid * uuid, CUdevice d), (void)d; memset(uuid, 1, sizeof *uuid))
ONCE_BEGUN(cuDeviceTotalMem, (size_t *bytes, CUdevice d), (void)d; *bytes = MEMORY)
ONCE_BEGUN(cuMemGetInfo, (size_t *unused, size_t *total), *unused = *total = MEMORY)
ONCE_BEGUN(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice d), (void)d; *context = CONTEXT)
ONCE_BEGUN(cuDevicePrimaryCtxRelease, (CUdevice d), (void)d)
ONCE_BEGUN(cuCtxGetCurrent, (CUcontext * context), *context = current)
ONCE_BEGUN(cuCtxSetCurrent, (CUcontext context), current = context)
ONCE_BEGUN(cuCtxPushCurrent, (CUcontext context), current = context)
ONCE_BEGUN(cuCtxPopCurrent, (CUcontext * context), *context = current; current = NULL)
ONCE_BEGUN(cuCtxGetDevice, (CUdevice * device), *device = 0)

EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    static const struct {
        CUdevice_attribute attribute;
        int value;
    } known[] = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, MULTIPROCESSORS},
        {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
        {CU_DEVICE_ATTRIBUTE_WARP_SIZE, WARP},
        {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, MOST_THREADS},
        {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    };
    (void)device;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].attribute == attribute) {
            *value = known[i].value;
            return CUDA_SUCCESS;
        }
    fprintf(stderr, "emulated device: attribute %d is not known here\n", (int)attribute);
    return CUDA_ERROR_NOT_SUPPORTED;
}

#define NAMED(error) \
    case error: *text = #error; break

EXPORT CUresult cuGetErrorName(CUresult error, const char **text) {
    switch (error) {
        NAMED(CUDA_SUCCESS);
        NAMED(CUDA_ERROR_INVALID_VALUE);
        NAMED(CUDA_ERROR_OUT_OF_MEMORY);
        NAMED(CUDA_ERROR_INVALID_IMAGE);
        NAMED(CUDA_ERROR_INVALID_HANDLE);
        NAMED(CUDA_ERROR_NOT_FOUND);
        NAMED(CUDA_ERROR_ILLEGAL_ADDRESS);
        NAMED(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
        NAMED(CUDA_ERROR_LAUNCH_FAILED);
        NAMED(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
        NAMED(CUDA_ERROR_NOT_SUPPORTED);
        NAMED(CUDA_ERROR_INVALID_CLUSTER_SIZE);
    default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

/* -------------------------------------------------------------------------------------------------- memory */

EXPORT CUresult cuMemAlloc(CUdeviceptr *out, size_t size) {
    ALONE;
    if (!size) return CUDA_ERROR_INVALID_VALUE;
    Allocation *made = allocate(size);
    if (!made) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = (CUdeviceptr)made->start;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemFree(CUdeviceptr address) {
    ALONE;
    Allocation *found = checked(address, 1, "cuMemFree");
    if (!found) return CUDA_ERROR_INVALID_VALUE;
    if ((CUdeviceptr)found->start != address) return complain("cuMemFree: not the start of an allocation");
    whole(found, "cuMemFree");
    release(found);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemGetAddressRange(CUdeviceptr *start, size_t *size, CUdeviceptr address) {
    ALONE;
    Allocation *found = checked(address, 1, "cuMemGetAddressRange");
    if (!found) return CUDA_ERROR_NOT_FOUND;
    if (start) *start = (CUdeviceptr)found->start;
    if (size) *size = found->size;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuPointerGetAttribute(void *out, CUpointer_attribute attribute, CUdeviceptr address) {
    ALONE;
    const Allocation *found = allocation_at(address);
    if (!found || !found->live) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_POINTER_ATTRIBUTE_CONTEXT) *(CUcontext *)out = CONTEXT;
    else if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_POINTER) *(CUdeviceptr *)out = address;
    else if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) *(unsigned *)out = CU_MEMORYTYPE_DEVICE;
    else if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) *(int *)out = 0;
    else if (attribute == CU_POINTER_ATTRIBUTE_IS_MANAGED) *(unsigned *)out = 0;
    else return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute *attributes, void **out, CUdeviceptr address) {
    for (unsigned i = 0; i < count; i++) {
        CUresult result = cuPointerGetAttribute(out[i], attributes[i], address);
        if (result == CUDA_ERROR_INVALID_VALUE) memset(out[i], 0, sizeof(unsigned)); /* the host's */
        else if (result) return result;
    }
    return CUDA_SUCCESS;
}

/* A copy on a stream: NULL stands for an end in the host's memory. */
static CUresult copy(void *to, int to_device, const void *from, int from_device, size_t size, CUstream handle,
                     const char *what) {
    ALONE;
    Stream *stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    if (!size) return CUDA_SUCCESS;
    Allocation *target = to_device ? checked((uint64_t)to, size, what) : NULL;
    Allocation *source = from_device ? checked((uint64_t)from, size, what) : NULL;
    if ((to_device && !target) || (from_device && !source)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    enqueue(stream);
    if (source && touch(source, stream, 0, what)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    if (target && touch(target, stream, 1, what)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    memmove(to, from, size);
    if (!to_device) wait_for(stream); /* into pageable memory: the host waits */
    return CUDA_SUCCESS;
}

/* From pageable memory: over for the host when its memory has been read, which is before the device's is written. */
EXPORT CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t size) {
    return copy((void *)to, 1, from, 0, size, NULL, "cuMemcpyHtoD");
}

EXPORT CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    return copy((void *)to, 1, from, 0, size, stream, "cuMemcpyHtoDAsync");
}

EXPORT CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t size) {
    return copy(to, 0, (void *)from, 1, size, NULL, "cuMemcpyDtoH");
}

EXPORT CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    return copy(to, 0, (void *)from, 1, size, stream, "cuMemcpyDtoHAsync");
}

EXPORT CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t size) {
    return copy((void *)to, 1, (void *)from, 1, size, NULL, "cuMemcpyDtoD");
}

EXPORT CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    return copy((void *)to, 1, (void *)from, 1, size, stream, "cuMemcpyDtoDAsync");
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t size, CUstream handle) {
    ALONE;
    Stream *stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    Allocation *target = checked(to, size, "cuMemsetD8");
    if (!target) return CUDA_ERROR_ILLEGAL_ADDRESS;
    enqueue(stream);
    if (touch(target, stream, 1, "cuMemsetD8")) return CUDA_ERROR_ILLEGAL_ADDRESS;
    memset((void *)to, value, size);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t size) {
    return cuMemsetD8Async(to, value, size, NULL);
}
