/* Streams, events and what is known to be done when: a vector clock each.

   Work on a stream is done in order. It knows of another stream's work through an event that it waits for, through the
   host that has waited, or, between the default stream and blocking ones, by CUDA's rule. The emulation runs everything
   at once; what would have been a race on a device is one by these clocks. */

#include "emulated.h"
#include <stdlib.h>
#include <time.h>

static Stream streams[STREAMS] = {{.slot = 0, .live = 1}, {.slot = 1, .live = 1, .blocking = 1}};
static int used = 2; /* the default one and that of the thread */
static Clock host;

typedef struct CUevent_st {
    Clock clock;
    double seconds;
} Event;

static void learn(Clock *clock, const Clock *other) {
    for (int i = 0; i < STREAMS; i++)
        if (clock->done[i] < other->done[i]) clock->done[i] = other->done[i];
}

Stream *stream_of(CUstream handle) {
    uint64_t number = (uint64_t)handle;
    if (number <= 2) return &streams[number == 2]; /* NULL, CU_STREAM_LEGACY, CU_STREAM_PER_THREAD */
    for (int i = 2; i < used; i++)
        if ((Stream *)handle == &streams[i]) return streams[i].live ? &streams[i] : NULL;
    return NULL;
}

static void wait_by_rule(Stream *stream) {
    learn(&stream->clock, &host);
    if (stream->blocking) learn(&stream->clock, &streams[0].clock);
    for (int i = 1; !stream->slot && i < used; i++)
        if (streams[i].blocking) learn(&stream->clock, &streams[i].clock);
}

void enqueue(Stream *stream) {
    wait_by_rule(stream);
    stream->clock.done[stream->slot]++;
}

void wait_for(Stream *stream) {
    wait_by_rule(stream);
    learn(&host, &stream->clock);
}

void wait_for_all(void) {
    for (int i = 0; i < used; i++) learn(&host, &streams[i].clock);
}

/* ------------------------------------------------------------------------------------------------- streams */

EXPORT CUresult cuStreamCreateWithPriority(CUstream *out, unsigned flags, int priority) {
    ALONE;
    (void)priority;
    if (used == STREAMS) return CUDA_ERROR_OUT_OF_MEMORY;
    streams[used] = (Stream){.slot = used, .live = 1, .blocking = !(flags & CU_STREAM_NON_BLOCKING)};
    *out = (CUstream)&streams[used++];
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamCreate(CUstream *out, unsigned flags) { return cuStreamCreateWithPriority(out, flags, 0); }

EXPORT CUresult cuStreamDestroy(CUstream handle) {
    ALONE;
    Stream *stream = stream_of(handle);
    if (!stream || stream->slot < 2) return CUDA_ERROR_INVALID_HANDLE;
    stream->live = 0;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamSynchronize(CUstream handle) {
    ALONE;
    Stream *stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    wait_for(stream);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamQuery(CUstream handle) { return cuStreamSynchronize(handle); }

EXPORT CUresult cuCtxSynchronize(void) {
    ALONE;
    wait_for_all();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamGetFlags(CUstream handle, unsigned *flags) {
    Stream *stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    *flags = stream->slot && !stream->blocking ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamGetCtx(CUstream handle, CUcontext *context) {
    return stream_of(handle) ? cuCtxGetCurrent(context) : CUDA_ERROR_INVALID_HANDLE;
}

EXPORT CUresult cuStreamGetId(CUstream handle, unsigned long long *number) {
    const Stream *stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    *number = (unsigned long long)stream->slot; /* no slot is used twice */
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return stream_of(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* -------------------------------------------------------------------------------------------------- events */

EXPORT CUresult cuEventCreate(CUevent *event, unsigned flags) {
    (void)flags;
    *event = calloc(1, sizeof(Event));
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventDestroy(CUevent event) {
    free(event);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventRecord(CUevent event, CUstream handle) {
    ALONE;
    Stream *stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    wait_by_rule(stream);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *event = (Event){stream->clock, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec};
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventRecordWithFlags(CUevent event, CUstream handle, unsigned flags) {
    (void)flags;
    return cuEventRecord(event, handle);
}

EXPORT CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned flags) {
    ALONE;
    (void)flags;
    Stream *stream = stream_of(handle);
    if (!stream) return CUDA_ERROR_INVALID_HANDLE;
    learn(&stream->clock, &event->clock);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventSynchronize(CUevent event) {
    ALONE;
    learn(&host, &event->clock);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuEventQuery(CUevent event) { return cuEventSynchronize(event); }

EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
    *milliseconds = (float)(1e3 * (end->seconds - start->seconds));
    return CUDA_SUCCESS;
}
