/* Sums over NCCL. Built into a library of its own, muster-collective-nccl.so.
 *
 * Gradients that lie in the GPU's memory are summed where they lie, on a stream of our own beside the computing one. Those of host memory
 * are copied to a buffer on this rank's GPU, summed there, and copied back, so that one bucket's copy runs beside another's sum. The
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

_Static_assert(NCCL_ID_SIZE == NCCL_UNIQUE_ID_BYTES, "the size of an id");

enum { OPEN_TIMEOUT_MS = 60 * 1000, SUM_TIMEOUT_MS = 120 * 1000, POLL_SPINS = 2000 };

/* A bucket's buffer on the GPU; slot i serves the i-th begin after each finish. */
struct slot {
    float *device;
    int64_t capacity;
};

struct group {
    ncclComm_t comm;
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
static int settle(ncclComm_t comm, ncclResult_t code, int timeout_ms, const char *what, struct error *err) {
    int64_t deadline_ms = clock_boot_ms() + timeout_ms;
    for (int polls = 0; code == ncclInProgress; polls++) {
        if (ncclCommGetAsyncError(comm, &code) != ncclSuccess)
            break;
        if (code == ncclInProgress && clock_boot_ms() > deadline_ms)
            return error_set(err, ERR_TIMEOUT, "NCCL, %s: no answer from the peers in %d s", what, timeout_ms / 1000);
        pause_after(polls);
    }
    return code == ncclSuccess ? 0 : error_set(err, ERR_IO, "NCCL, %s: %s (%s)", what, ncclGetErrorString(code), ncclGetLastError(comm));
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
    if (local_rank >= count)
        return error_set(err, ERR_INVALID, "rank %d of this node has no GPU: %d are visible; ask for as many GPUs a node as ranks",
                         local_rank, count);
    return check_cuda(cudaSetDevice(local_rank), "choosing a GPU", err);
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

static int group_open(void **state, const unsigned char id[NCCL_ID_SIZE], int rank, int size, struct error *err) {
    struct group *g = xcalloc(1, sizeof *g);
    ncclUniqueId unique;
    memcpy(&unique, id, sizeof unique);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    int rc = check_cuda(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "making a stream", err);
    if (rc == 0)
        rc = check_cuda(cudaEventCreateWithFlags(&g->computed, cudaEventDisableTiming), "making an event", err);
    if (rc == 0)
        rc = settle(g->comm, ncclCommInitRankConfig(&g->comm, size, unique, rank, &config), OPEN_TIMEOUT_MS, "joining the group", err);
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
        settle(g->comm, ncclCommFinalize(g->comm), OPEN_TIMEOUT_MS, "leaving the group", NULL);
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
    return settle(g->comm, ncclAllReduce(values, values, (size_t)count, ncclFloat, ncclSum, g->comm, g->stream), SUM_TIMEOUT_MS,
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

/* The sum waits for what was computed before. What is computed after a finish needs no such wait: it returns when the sums are there. */
static int begin_on_gpu(void *state, float *values, int64_t count, struct error *err) {
    struct group *g = state;
    int rc = check_cuda(cudaEventRecord(g->computed, NULL), "marking what is computed", err);
    if (rc == 0)
        rc = check_cuda(cudaStreamWaitEvent(g->stream, g->computed, 0), "waiting for what is computed", err);
    if (rc == 0)
        rc = sum(g, values, count, err);
    if (rc < 0)
        group_abort(g);
    return rc;
}

/* The stream says when the work is done, the communicator whether it ever will be. */
static int wait_for_stream(struct group *g, struct error *err) {
    int64_t deadline_ms = clock_boot_ms() + SUM_TIMEOUT_MS;
    for (int polls = 0;; polls++) {
        cudaError_t done = cudaStreamQuery(g->stream);
        if (done != cudaErrorNotReady)
            return check_cuda(done, "all-reduce", err);
        ncclResult_t code = ncclSuccess;
        ncclCommGetAsyncError(g->comm, &code);
        if (code != ncclSuccess && code != ncclInProgress)
            return error_set(err, ERR_IO, "NCCL, all-reduce: %s (%s)", ncclGetErrorString(code), ncclGetLastError(g->comm));
        if (clock_boot_ms() > deadline_ms)
            return error_set(err, ERR_TIMEOUT, "NCCL, all-reduce: no answer from the peers in %d s", SUM_TIMEOUT_MS / 1000);
        pause_after(polls);
    }
}

static int finish(void *state, struct error *err) {
    struct group *g = state;
    int rc = wait_for_stream(g, err);
    g->used = 0;
    if (rc < 0)
        group_abort(g);
    return rc;
}

static const struct collective_way way = {
    .name = "nccl", .all_reduce_begin = begin, .all_reduce_finish = finish, .close = group_close, .abort = group_abort};
static const struct collective_way gpu_way = {.name = "nccl", .on_gpu = true, .all_reduce_begin = begin_on_gpu,
                                              .all_reduce_finish = finish, .close = group_close, .abort = group_abort};

extern const struct nccl_library nccl_library;
__attribute__((visibility("default"))) const struct nccl_library nccl_library = {
    .abi = NCCL_LIBRARY_ABI, .choose_gpu = choose_gpu, .make_id = make_id, .open = group_open, .way = &way, .gpu_way = &gpu_way};
