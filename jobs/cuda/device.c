/* The GPU: opening it, memory, scratch, and the failure that sticks. */
#include "jobs/cuda/device.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "jobs/backend/gpu_library.h"
#include "jobs/cuda/cudnn_ways.h"

enum { LEAST_CAPABILITY = 8 /* A100: bf16 */, CHUNKS_MAX = 16, ALIGNMENT = 256 };

/* Scratch: chunks that are handed out from their beginning, and made one when an operation begins. */
struct chunk {
    char *at;
    size_t size, used;
};

static struct {
    char name[256];
    int major, minor, processors;   /* compute capability; streaming multiprocessors */
    bool bf16;
    const char *operation;   /* the last that began */
    struct error failure;    /* the first since the last finish; code 0: none */
    struct chunk chunks[CHUNKS_MAX];
    int chunk_count;
} device;

/* What allocate and device_scratch return for memory that can't be had. Nothing follows it: a failure sticks. */
static char nowhere[ALIGNMENT];

/* ---- failures ---- */

bool device_ready(void) { return device.failure.code == 0; }
bool device_bf16(void) { return device.bf16; }

void device_fail(int code, const char *format, ...) {
    char text[ERROR_TEXT_MAX];
    va_list arguments;
    if (!device_ready())
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(&device.failure, code, "%s: %s", device.operation, text);
}

/* Some failures are told by whatever is called next. */
static bool told_late(cudaError_t code) {
    return code == cudaErrorIllegalAddress || code == cudaErrorLaunchFailure || code == cudaErrorMisalignedAddress ||
           code == cudaErrorIllegalInstruction || code == cudaErrorLaunchTimeout;
}

void device_check(cudaError_t code) {
    if (code == cudaSuccess)
        return;
    cudaGetLastError();   /* or the next check would see it again */
    device_fail(ERR_FAILED, "CUDA: %s%s", cudaGetErrorString(code),
                told_late(code) ? " (it may be of an operation before: CUDA_LAUNCH_BLOCKING=1 tells which)" : "");
}

/* Of the stream that everything here goes on, and of no other: sums over the ranks have their own, and may wait for a peer that is dead. */
int cuda_finish(struct error *err) {
    device.operation = "finish";
    device_check(cudaStreamSynchronize(NULL));
    if (device_ready())
        return 0;
    if (err)
        *err = device.failure;
    int code = device.failure.code;
    device.failure.code = ERR_OK;
    return code;
}

/* ---- memory ---- */

static double gib(size_t bytes) { return (double)bytes / (1 << 30); }

static void *take_memory(size_t bytes) {
    void *at = NULL;
    if (!device_ready())
        return nowhere;
    cudaError_t code = cudaMalloc(&at, bytes ? bytes : 1);
    if (code == cudaSuccess)
        return at;
    size_t free_bytes = 0, all = 0;
    cudaGetLastError();
    if (code == cudaErrorMemoryAllocation && cudaMemGetInfo(&free_bytes, &all) == cudaSuccess)
        device_fail(ERR_FAILED, "out of memory: %.1f GiB asked, %.1f GiB of the GPU's %.1f GiB free: lower --batch", gib(bytes),
                    gib(free_bytes), gib(all));
    else
        device_check(code);
    return nowhere;
}

void *cuda_reserve(size_t bytes) { return device_begin(__func__) ? take_memory(bytes) : nowhere; }

void *cuda_allocate(size_t bytes) {
    if (!device_begin(__func__))
        return nowhere;
    void *at = take_memory(bytes);
    cuda_clear(at, bytes);
    return at;
}

void cuda_release(void *memory) {
    if (memory && memory != nowhere)
        cudaFree(memory);
}

void cuda_clear(void *memory, size_t bytes) {
    if (device_begin(__func__) && bytes > 0)
        device_check(cudaMemsetAsync(memory, 0, bytes, NULL));
}

void cuda_upload(void *to, const void *host, size_t bytes) {
    if (device_begin(__func__) && bytes > 0)
        device_check(cudaMemcpy(to, host, bytes, cudaMemcpyHostToDevice));
}

void cuda_download(void *host, const void *from, size_t bytes) {
    if (device_begin(__func__) && bytes > 0)
        device_check(cudaMemcpy(host, from, bytes, cudaMemcpyDeviceToHost));
}

void cuda_copy(void *to, const void *from, size_t bytes) {
    if (device_begin(__func__) && bytes > 0)
        device_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, NULL));
}

/* ---- scratch ---- */

static void free_chunks(void) {
    for (int i = 0; i < device.chunk_count; i++)
        cuda_release(device.chunks[i].at);   /* waits for what uses it */
    device.chunk_count = 0;
}

static void *add_chunk(size_t size) {
    if (device.chunk_count == CHUNKS_MAX) {
        device_fail(ERR_FAILED, "more than %d pieces of scratch", CHUNKS_MAX);
        return nowhere;
    }
    char *at = take_memory(size);
    if (at != nowhere)
        device.chunks[device.chunk_count++] = (struct chunk){.at = at, .size = size};
    return at;
}

/* One chunk for what took several; so after the first step of a training none is allocated any more. */
static void begin_scratch(void) {
    size_t size = 0;
    for (int i = 0; i < device.chunk_count; i++) {
        size += device.chunks[i].size;
        device.chunks[i].used = 0;
    }
    if (device.chunk_count > 1) {
        free_chunks();
        add_chunk(size);
    }
}

void *device_scratch(size_t bytes) {
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct chunk *c = device.chunk_count > 0 ? &device.chunks[device.chunk_count - 1] : NULL;
    if (!c || c->size - c->used < bytes) {
        if (add_chunk(bytes) == nowhere)
            return nowhere;
        c = &device.chunks[device.chunk_count - 1];
    }
    void *at = c->at + c->used;
    c->used += bytes;
    return at;
}

bool device_begin(const char *function) {
    if (!device_ready())
        return false;
    device.operation = function + strlen("cuda_");
    begin_scratch();
    return device_ready();
}

/* ---- opening ---- */

static int no_gpu(cudaError_t code, struct error *err) {
    int driver = 0, built_for = 0;
    if (code != cudaErrorInsufficientDriver || cudaDriverGetVersion(&driver) != cudaSuccess ||
        cudaRuntimeGetVersion(&built_for) != cudaSuccess)
        return error_set(err, ERR_NOT_FOUND, "no GPU: %s (nvidia-smi tells what the driver sees)", cudaGetErrorString(code));
    if (driver == 0)
        return error_set(err, ERR_NOT_FOUND, "no GPU: NVIDIA's driver isn't installed or not loaded");
    return error_set(err, ERR_NOT_FOUND, "no GPU: the driver knows CUDA up to %d.%d, and this was built for %d.%d: update the driver",
                     driver / 1000, driver / 10 % 100, built_for / 1000, built_for / 10 % 100);
}

static int choose_gpu(int local_rank, struct error *err) {
    int count = 0;
    struct cudaDeviceProp about;
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess)
        return no_gpu(code, err);
    int gpu = gpu_of_rank(local_rank, count);
    if (gpu >= count)
        return error_set(err, ERR_INVALID, "rank %d of this node has no GPU: %d are visible; ask for as many GPUs a node as ranks",
                         local_rank, count);
    if ((code = cudaSetDevice(gpu)) != cudaSuccess || (code = cudaGetDeviceProperties(&about, gpu)) != cudaSuccess)
        return error_set(err, ERR_IO, "GPU %d: %s", gpu, cudaGetErrorString(code));
    if (about.major < LEAST_CAPABILITY)
        return error_set(err, ERR_INVALID, "GPU %d is a %s of compute capability %d.%d: %d.0 is the least (A100, H100)", gpu,
                         about.name, about.major, about.minor, LEAST_CAPABILITY);
    snprintf(device.name, sizeof device.name, "%s", about.name);
    device.major = about.major;
    device.minor = about.minor;
    device.processors = about.multiProcessorCount;
    return 0;
}

int device_open(int local_rank, enum backend_precision precision, struct error *err) {
    int rc = choose_gpu(local_rank, err);
    if (rc < 0)
        return rc;
    device.bf16 = precision == BACKEND_BF16;
    device.failure.code = ERR_OK;
    device.operation = "open";
    return device_open_products(err) ? 0 : ERR_IO;
}

const char *device_name(void) { return device.name; }

/* Our kernels depend on none of it, but for what the compiler makes of them for a capability. cuBLAS promises the same bits where the
 * architecture, the number of multiprocessors and its version are the same (its documentation, "Results reproducibility"), and cuDNN's
 * engines are chosen by as much (cudnn_graph.h). */
void device_arithmetic(char *buffer, size_t size) {
    snprintf(buffer, size, "%s, capability %d.%d, %d multiprocessors, cuBLAS %d, ", device.name, device.major, device.minor,
             device.processors, device_products_version());
    size_t used = strlen(buffer), cudnn = cudnn_version();
    snprintf(buffer + used, size - used, cudnn ? "cuDNN %zu" : "no cuDNN", cudnn);
}

void device_close(void) {
    cudaStreamSynchronize(NULL);
    free_chunks();
    cudnn_close();
    device_close_products();
}
