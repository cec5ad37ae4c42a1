/* A muster-backend-cuda.so whose GPU is the CPU: the kernels' own table behind another door, with memory that the host can reach. So a
 * training through it gives the bits of --backend cpu, and tests see what lies between: opening, staging, checkpoints, failures.
 *
 * FAKE_BACKEND_FAIL=1:3 lets the third finish of rank 1 fail. FAKE_GPUS is the number of GPUs (8); FAKE_DEVICE=1:NAME gives
 * rank 1 another model's arithmetic.
 */
#include <stdio.h>
#include <stdlib.h>

#include "jobs/backend/backend.h"
#include "jobs/backend/cpu.h"
#include "jobs/backend/gpu_library.h"

static struct backend_operations operations;
static int rank, finishes;

static int finish(struct error *err) {
    int failing, at;
    const char *text = getenv("FAKE_BACKEND_FAIL");
    finishes++;
    if (text && sscanf(text, "%d:%d", &failing, &at) == 2 && failing == rank && at == finishes)
        return error_set(err, ERR_FAILED, "attention_forward: a fake error");
    return 0;
}

static int open_gpu(int local_rank, enum backend_precision precision, struct error *err) {
    const char *count = getenv("FAKE_GPUS");
    int gpus = count ? atoi(count) : 8;
    if (gpu_of_rank(local_rank, gpus) >= gpus)
        return error_set(err, ERR_INVALID, "rank %d of this node has no GPU", local_rank);
    if (precision != BACKEND_FP32)
        return error_set(err, ERR_INVALID, "the fake computes in fp32 only");
    rank = local_rank;
    operations = cpu_operations;
    operations.finish = finish;
    return 0;
}

static void close_gpu(void) {}
static const char *device(void) { return "Fake GPU"; }

static void arithmetic(char *buffer, size_t size) {
    int of, at = 0;
    const char *text = getenv("FAKE_DEVICE");
    bool other = text && sscanf(text, "%d:%n", &of, &at) == 1 && of == rank;
    snprintf(buffer, size, "%s", other ? text + at : device());
}

extern const struct cuda_library cuda_library;
__attribute__((visibility("default"))) const struct cuda_library cuda_library = {
    .abi = CUDA_LIBRARY_ABI, .open = open_gpu, .close = close_gpu, .device = device, .arithmetic = arithmetic,
    .operations = &operations};
