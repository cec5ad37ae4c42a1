/* Sums over NCCL. Built into a library of its own, muster-collective-nccl.so.
 *
 * Gradients that lie in the GPU's memory are summed where they lie, on a stream of our own beside the computing one. Those of host memory
 * are copied to a buffer on this rank's GPU, summed there, and copied back, so that one bucket's copy runs beside another's sum. Exchanges
 * in the GPU's memory are messages between each two ranks, begun as one group, on that stream too. The
 * communicator is non-blocking: every call is polled with a deadline, and a dead peer or a broken link is an error after ncclCommAbort,
 * never a hang.
 */
#include "jobs/collective/nccl.h"

#include <cuda_runtime_api.h>
#include <nccl.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/backend/gpu_library.h"

_Static_assert(NCCL_ID_SIZE == NCCL_UNIQUE_ID_BYTES, "the size of an id");

enum { POLL_SPINS = 2000 };

/* A bucket's buffer on the GPU; slot i serves the i-th begin after each finish. */
struct slot {
    float *device;
    int64_t capacity;
};

struct group {
    ncclComm_t comm;
    int rank, size, timeout_s;
    cudaStream_t stream;
    cudaEvent_t computed;   /* by the default stream, so far */
    struct slot *slots;
    size_t slot_count, slot_capacity, used;
};

static int check_cuda(cudaError_t code, const char *what, struct error *err) {
    return code == cudaSuccess ? 0 : error_set(err, ERR_IO, "CUDA, %s: %s", what, cudaGetErrorString(code));
}

/* A poll costs little at first, and no core where the wait is long. */
static void pause_after(int polls) {
    if (polls > POLL_SPINS)
        clock_sleep_ms(1);
}

/* Waits until a call that was begun on the communicator is done. */
static int settle(const struct group *g, ncclResult_t code, const char *what, struct error *err) {
    int64_t deadline_ms = clock_boot_ms() + g->timeout_s * INT64_C(1000);
    for (int polls = 0; code == ncclInProgress; polls++) {
        if (ncclCommGetAsyncError(g->comm, &code) != ncclSuccess)
            break;
        if (code == ncclInProgress && clock_boot_ms() > deadline_ms)
            return error_set(err, ERR_TIMEOUT, "NCCL, %s: no answer from the peers in %d s", what, g->timeout_s);
        pause_after(polls);
    }
    return code == ncclSuccess ? 0 : error_set(err, ERR_IO, "NCCL, %s: %s (%s)", what, ncclGetErrorString(code), ncclGetLastError(g->comm));
}

static int make_id(unsigned char id[NCCL_ID_SIZE], struct error *err) {
    ncclUniqueId made;
    ncclResult_t code = ncclGetUniqueId(&made);
    if (code != ncclSuccess)
        return error_set(err, ERR_IO, "NCCL, making an id: %s", ncclGetErrorString(code));
    memcpy(id, &made, NCCL_ID_SIZE);
    return 0;
}

static int choose_gpu(int local_rank, struct error *err) {
    int count = 0, rc = check_cuda(cudaGetDeviceCount(&count), "counting GPUs", err);
    if (rc < 0)
        return rc;
    int gpu = gpu_of_rank(local_rank, count);
    if (gpu >= count)
        return error_set(err, ERR_INVALID, "rank %d of this node has no GPU: %d are visible; ask for as many GPUs a node as ranks",
                         local_rank, count);
    return check_cuda(cudaSetDevice(gpu), "choosing a GPU", err);
}

static void release(struct group *g) {
    for (size_t i = 0; i < g->slot_count; i++)
        cudaFree(g->slots[i].device);
    free(g->slots);
    if (g->computed)
        cudaEventDestroy(g->computed);
    if (g->stream)
        cudaStreamDestroy(g->stream);
    free(g);
}

static void group_abort(void *state) {
    struct group *g = state;
    if (g->comm)
        ncclCommAbort(g->comm);
    g->comm = NULL;
}

static int group_open(void **state, const unsigned char id[NCCL_ID_SIZE], int rank, int size, int timeout_s,
                      struct error *err) {
    struct group *g = xcalloc(1, sizeof *g);
    g->rank = rank;
    g->size = size;
    g->timeout_s = timeout_s;
    ncclUniqueId unique;
    memcpy(&unique, id, sizeof unique);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    int rc = check_cuda(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "making a stream", err);
    if (rc == 0)
        rc = check_cuda(cudaEventCreateWithFlags(&g->computed, cudaEventDisableTiming), "making an event", err);
    if (rc == 0)
        rc = settle(g, ncclCommInitRankConfig(&g->comm, size, unique, rank, &config), "joining the group", err);
    if (rc < 0) {
        group_abort(g);
        release(g);
        return rc;
    }
    *state = g;
    return 0;
}

static void group_close(void *state) {
    struct group *g = state;
    if (g->comm) {
        settle(g, ncclCommFinalize(g->comm), "leaving the group", NULL);
        ncclCommDestroy(g->comm);
    }
    release(g);
}

/* The next slot, with room for count floats. */
static int take_slot(struct group *g, int64_t count, struct slot **slot, struct error *err) {
    if (g->used == g->slot_count) {
        g->slots = xgrow(g->slots, &g->slot_capacity, g->slot_count + 1, sizeof *g->slots);
        g->slots[g->slot_count++] = (struct slot){0};
    }
    *slot = &g->slots[g->used++];
    if ((*slot)->capacity >= count)
        return 0;
    cudaFree((*slot)->device);
    **slot = (struct slot){0};
    int rc = check_cuda(cudaMalloc((void **)&(*slot)->device, (size_t)count * sizeof(float)), "allocating a bucket", err);
    (*slot)->capacity = rc == 0 ? count : 0;
    return rc;
}

static int sum(struct group *g, float *values, int64_t count, struct error *err) {
    return settle(g, ncclAllReduce(values, values, (size_t)count, ncclFloat, ncclSum, g->comm, g->stream),
                  "all-reduce", err);
}

static int begin(void *state, float *values, int64_t count, struct error *err) {
    struct group *g = state;
    size_t bytes = (size_t)count * sizeof(float);
    struct slot *slot;
    int rc = take_slot(g, count, &slot, err);
    if (rc == 0)
        rc = check_cuda(cudaMemcpyAsync(slot->device, values, bytes, cudaMemcpyHostToDevice, g->stream), "copying to the GPU", err);
    if (rc == 0)
        rc = sum(g, slot->device, count, err);
    if (rc == 0)
        rc = check_cuda(cudaMemcpyAsync(values, slot->device, bytes, cudaMemcpyDeviceToHost, g->stream), "copying from the GPU", err);
    if (rc < 0)
        group_abort(g);
    return rc;
}

/* What is begun waits for what was computed before. What is computed after a finish needs no such wait: it returns when all is there. */
static int follow_computed(struct group *g, struct error *err) {
    int rc = check_cuda(cudaEventRecord(g->computed, NULL), "marking what is computed", err);
    return rc == 0 ? check_cuda(cudaStreamWaitEvent(g->stream, g->computed, 0), "waiting for what is computed", err) : rc;
}

static int begin_on_gpu(void *state, float *values, int64_t count, struct error *err) {
    struct group *g = state;
    int rc = follow_computed(g, err);
    if (rc == 0)
        rc = sum(g, values, count, err);
    if (rc < 0)
        group_abort(g);
    return rc;
}

/* The stream says when the work is done, the communicator whether it ever will be. */
static int wait_for_stream(struct group *g, const char *what, struct error *err) {
    int64_t deadline_ms = clock_boot_ms() + g->timeout_s * INT64_C(1000);
    for (int polls = 0;; polls++) {
        cudaError_t done = cudaStreamQuery(g->stream);
        if (done != cudaErrorNotReady)
            return check_cuda(done, what, err);
        ncclResult_t code = ncclSuccess;
        ncclCommGetAsyncError(g->comm, &code);
        if (code != ncclSuccess && code != ncclInProgress)
            return error_set(err, ERR_IO, "NCCL, %s: %s (%s)", what, ncclGetErrorString(code), ncclGetLastError(g->comm));
        if (clock_boot_ms() > deadline_ms)
            return error_set(err, ERR_TIMEOUT, "NCCL, %s: no answer from the peers in %d s", what, g->timeout_s);
        pause_after(polls);
    }
}

static int finish(void *state, struct error *err) {
    struct group *g = state;
    int rc = wait_for_stream(g, "all-reduce", err);
    g->used = 0;
    if (rc < 0)
        group_abort(g);
    return rc;
}

/* ---- messages ---- */

/* Each begins at once or is an error of its own; ncclInProgress is said by the group as a whole, too. */
static void note(ncclResult_t *first, ncclResult_t code) {
    if (*first == ncclSuccess && code != ncclInProgress)
        *first = code;
}

static int end_group(struct group *g, ncclResult_t begun, const char *what, struct error *err) {
    ncclResult_t ended = ncclGroupEnd();
    int rc = settle(g, begun == ncclSuccess ? ended : begun, what, err);
    if (rc == 0)
        rc = wait_for_stream(g, what, err);
    if (rc < 0)
        group_abort(g);
    return rc;
}

static int all_to_all(void *state, const float *out, const int64_t *sends, float *in, const int64_t *receives, struct error *err) {
    struct group *g = state;
    int rc = follow_computed(g, err);
    if (rc < 0)
        return rc;
    ncclResult_t begun = ncclGroupStart();
    for (int r = 0; r < g->size; out += sends[r], in += receives[r], r++) {
        if (sends[r])
            note(&begun, ncclSend(out, (size_t)sends[r], ncclFloat, r, g->comm, g->stream));
        if (receives[r])
            note(&begun, ncclRecv(in, (size_t)receives[r], ncclFloat, r, g->comm, g->stream));
    }
    return end_group(g, begun, "all-to-all", err);
}

static int gather_slices(void *state, float *values, const int64_t *slices, struct error *err) {
    struct group *g = state;
    const float *own = values;
    for (int r = 0; r < g->rank; r++)
        own += slices[r];
    int rc = follow_computed(g, err);
    if (rc < 0)
        return rc;
    ncclResult_t begun = ncclGroupStart();
    for (int r = 0; r < g->size; values += slices[r++]) {
        if (r != g->rank && slices[g->rank])
            note(&begun, ncclSend(own, (size_t)slices[g->rank], ncclFloat, r, g->comm, g->stream));
        if (r != g->rank && slices[r])
            note(&begun, ncclRecv(values, (size_t)slices[r], ncclFloat, r, g->comm, g->stream));
    }
    return end_group(g, begun, "all-gather", err);
}

static const struct collective_way way = {
    .name = "nccl", .all_reduce_begin = begin, .all_reduce_finish = finish, .close = group_close, .abort = group_abort};
static const struct collective_way gpu_way = {.name = "nccl", .on_gpu = true, .all_reduce_begin = begin_on_gpu,
                                              .all_reduce_finish = finish, .all_to_all = all_to_all,
                                              .gather_slices = gather_slices, .close = group_close, .abort = group_abort};

extern const struct nccl_library nccl_library;
__attribute__((visibility("default"))) const struct nccl_library nccl_library = {
    .abi = NCCL_LIBRARY_ABI, .choose_gpu = choose_gpu, .make_id = make_id, .open = group_open, .way = &way, .gpu_way = &gpu_way};
