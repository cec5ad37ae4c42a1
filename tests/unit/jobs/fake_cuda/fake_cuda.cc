/* A GPU for machines without one, so that the real jobs/cuda runs in tests: its sources are compiled by a C++ compiler against the headers
 * of this folder. It is slow and strict, and wants to find what a real GPU forgives.
 *
 * - The threads of a block are fibers. A warp goes as far as it can before the next begins, and FAKE_CUDA_SEED chooses the order of the
 *   warps, and of the threads of each (0: by their numbers), so that a missing __syncthreads gives wrong numbers. Blocks go one after
 *   another, in a shuffled order likewise.
 * - A barrier that a thread has left, or that half a warp comes to, is an error; so are launches beyond the limits of sm_80.
 * - The GPU's memory is poisoned, ends at a page that can't be touched, and can't be touched at all but by kernels, cuBLAS and copies.
 *   Dynamic shared memory likewise, a block. A kernel that is given the host's memory is an error.
 *
 * FAKE_CUDA_OPEN=1 lets the host touch the GPU's memory, which is faster. FAKE_GPUS: how many there are (1). FAKE_CUDA_MEMORY: bytes
 * (1 GiB). FAKE_CUDA_CAPABILITY: 8, FAKE_CUDA_PROCESSORS: 4, FAKE_CUDA_DRIVER: 13000. What is wrong in a kernel ends the process with
 * a line that says so.
 */
#include "fake_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <vector>

enum { LANES = 32, THREADS_MAX = 1024, STACK = 64 << 10, PAGE = 4096, POISON = 0xff /* NaN */ };
enum { SHARED_PLAIN = 48 << 10, SHARED_MAX = 163 << 10, BLOCKS_Y_MAX = 65535 };

dim3 threadIdx, blockIdx, blockDim, gridDim;
static cudaError_t last_error;

[[noreturn]] static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "fake GPU: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (thread %u %u %u of block %u %u %u)\n", threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z);
    va_end(arguments);
    abort();
}

static cudaError_t fail(cudaError_t code) { return last_error = code; }

static long long setting(const char *name, long long otherwise) {
    const char *text = getenv(name);
    return text ? atoll(text) : otherwise;
}

/* ---- memory: each piece ends where a page begins that nobody may touch ---- */

struct piece {
    char *map;
    size_t pages, bytes;   /* the pages before the last; what was asked for */
};
static std::map<char *, piece> pieces;                /* by address */
static std::multimap<size_t, char *> given_back;      /* maps by their pages: new ones are slow */
static size_t used;

static size_t all_memory(void) { return (size_t)setting("FAKE_CUDA_MEMORY", 1 << 30); }
static size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

/* Pages to write to, and one more that can't be touched. */
static char *map_pages(size_t pages) {
    auto found = given_back.find(pages);
    char *map = found != given_back.end() ? found->second : NULL;
    if (map) {
        given_back.erase(found);
        mprotect(map, pages, PROT_READ | PROT_WRITE);
        return map;
    }
    map = (char *)mmap(NULL, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        die("mmap of %zu bytes", pages);
    mprotect(map + pages, PAGE, PROT_NONE);
    return map;
}

static const piece *piece_of(const void *at, size_t bytes) {
    auto after = pieces.upper_bound((char *)at);
    if (after == pieces.begin())
        return NULL;
    auto found = std::prev(after);
    return (const char *)at + bytes <= found->first + found->second.bytes ? &found->second : NULL;
}

void fake_must_be_device_memory(const void *at) {
    if (at && !piece_of(at, 0))
        die("a kernel or cuBLAS was given %p, which isn't memory of the GPU", at);
}

void fake_open_memory(bool open) {
    static bool is_open;
    open |= setting("FAKE_CUDA_OPEN", 0) != 0;
    if (open && is_open)
        return;
    is_open = open;
    for (auto &p : pieces)
        mprotect(p.second.map, p.second.pages, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

cudaError_t cudaMalloc(void **at, size_t bytes) {
    piece p;
    if (bytes == 0)
        return fail(cudaErrorInvalidValue);
    if (used + bytes > all_memory())
        return fail(cudaErrorMemoryAllocation);
    p.bytes = bytes;
    p.pages = round_up(bytes, PAGE);
    p.map = map_pages(p.pages);
    memset(p.map, POISON, p.pages);
    if (setting("FAKE_CUDA_OPEN", 0) == 0)
        mprotect(p.map, p.pages, PROT_NONE);
    char *from = p.map + p.pages - round_up(bytes, 16);
    pieces[from] = p;
    used += bytes;
    *at = from;
    return cudaSuccess;
}

cudaError_t cudaFree(void *at) {
    auto found = pieces.find((char *)at);
    if (!at)
        return cudaSuccess;
    if (found == pieces.end())
        die("cudaFree of %p, which was never allocated", at);
    given_back.emplace(found->second.pages, found->second.map);
    used -= found->second.bytes;
    pieces.erase(found);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all) {
    *all = all_memory();
    *free_bytes = *all - used;
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t) {
    if (!piece_of(at, bytes))
        return fail(cudaErrorInvalidValue);
    fake_open_memory(true);
    memset(at, value, bytes);
    fake_open_memory(false);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if ((piece_of(to, bytes) != NULL) != to_device || (piece_of(from, bytes) != NULL) != from_device)
        return fail(cudaErrorInvalidValue);
    fake_open_memory(true);
    memmove(to, from, bytes);
    fake_open_memory(false);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy(to, from, bytes, kind);
}

/* ---- the device ---- */

cudaError_t cudaDriverGetVersion(int *version) {
    *version = (int)setting("FAKE_CUDA_DRIVER", 13000);
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    int driver, runtime;
    *count = (int)setting("FAKE_GPUS", 1);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    return driver < runtime ? fail(cudaErrorInsufficientDriver) : *count > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int) { return cudaSuccess; }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *about, int) {
    *about = {};
    snprintf(about->name, sizeof about->name, "fake GPU");
    about->major = (int)setting("FAKE_CUDA_CAPABILITY", 8);
    about->multiProcessorCount = (int)setting("FAKE_CUDA_PROCESSORS", 4);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGetLastError(void) {
    cudaError_t code = last_error;
    last_error = cudaSuccess;
    return code;
}

const char *cudaGetErrorString(cudaError_t code) {
    return code == cudaErrorMemoryAllocation ? "out of memory" : code == cudaErrorNoDevice ? "no CUDA-capable device is detected" :
           code == cudaErrorInvalidConfiguration ? "invalid configuration argument" : "invalid argument";
}

/* ---- the order of what may go in any order ---- */

static uint64_t chance;
static bool shuffled;

static unsigned random_below(unsigned bound) {
    chance += 0x9e3779b97f4a7c15;
    uint64_t z = (chance ^ chance >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (unsigned)((z ^ z >> 31) % bound);
}

static void shuffle(std::vector<unsigned> &order) {
    for (unsigned i = 0; i < order.size(); i++)
        order[i] = i;
    if (!shuffled)
        return;
    for (unsigned i = (unsigned)order.size(); i > 1; i--)
        std::swap(order[i - 1], order[random_below(i)]);
}

/* ---- fibers: one a thread of the block. They begin by setcontext and go on by longjmp, which makes no system call. ---- */

enum fiber_state { READY, AT_BARRIER, AT_EXCHANGE, DONE };
struct fiber {
    ucontext_t context;
    jmp_buf here;
    void *stack;
    bool begun;
    enum fiber_state state;
    int operation;
    uint64_t given;
};

static fiber fibers[THREADS_MAX];
static unsigned fiber_count, current;
static jmp_buf scheduler;
static const std::function<void()> *thread_function;
static uint64_t exchanged[THREADS_MAX / LANES][LANES];
static int block_or, barrier_result;
static char *dynamic_shared;

void *fake_dynamic_shared(void) { return dynamic_shared; }

static void wait_as(enum fiber_state state) {
    fiber *f = &fibers[current];
    f->state = state;
    if (_setjmp(f->here) == 0)
        _longjmp(scheduler, 1);
}

static void fiber_main(void) {
    for (;;) {
        (*thread_function)();
        wait_as(DONE);
    }
}

int fake_block_or(int value) {
    block_or |= value != 0;
    wait_as(AT_BARRIER);
    return barrier_result;
}

const uint64_t *fake_warp_exchange(uint64_t value, int operation) {
    unsigned warp = current / LANES;
    fibers[current].given = value;
    fibers[current].operation = operation;
    wait_as(AT_EXCHANGE);
    return exchanged[warp];
}

/* A fiber that ended is in its loop, before the call: it serves the next thread that has its number. */
static void prepare(unsigned i) {
    fiber *f = &fibers[i];
    f->state = READY;
    if (f->stack)
        return;
    f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    makecontext(&f->context, fiber_main, 0);
}

static void resume(unsigned i) {
    current = i;
    threadIdx = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y);
    fiber *f = &fibers[i];
    if (_setjmp(scheduler) != 0)
        return;
    if (f->begun)
        _longjmp(f->here, 1);
    f->begun = true;
    setcontext(&f->context);
}

/* If all lanes of the warp wait in the same operation, they go on. */
static bool complete_exchange(unsigned first) {
    if (first + LANES > fiber_count)
        die("an operation of a warp in a block of %u threads", fiber_count);
    for (unsigned i = first; i < first + LANES; i++)
        if (fibers[i].state != AT_EXCHANGE)
            return false;
    for (unsigned i = first; i < first + LANES; i++) {
        if (fibers[i].operation != fibers[first].operation)
            die("lanes of a warp in different operations");
        exchanged[first / LANES][i - first] = fibers[i].given;
        fibers[i].state = READY;
    }
    return true;
}

/* One warp goes as far as it can without the others: so threads of different warps are as far apart as a barrier lets them be. */
static void run_warp(unsigned first) {
    static std::vector<unsigned> lanes(LANES);
    unsigned count = std::min(fiber_count - first, (unsigned)LANES);
    bool waits;
    do {
        waits = false;
        shuffle(lanes);
        for (unsigned lane : lanes)
            if (lane < count && fibers[first + lane].state == READY)
                resume(first + lane);
        for (unsigned i = first; i < first + count; i++)
            waits |= fibers[i].state == AT_EXCHANGE;
    } while (waits && complete_exchange(first));
}

/* All warps went as far as they can: they are at the barrier, or done. */
static bool pass_barrier(void) {
    unsigned waiting = 0, done = 0;
    for (unsigned i = 0; i < fiber_count; i++) {
        waiting += fibers[i].state == AT_BARRIER;
        done += fibers[i].state == DONE;
    }
    if (done == fiber_count)
        return false;
    if (waiting != fiber_count)
        die("threads wait for each other for ever: at a barrier or an operation of a warp that not all come to");
    barrier_result = block_or;
    block_or = 0;
    for (unsigned i = 0; i < fiber_count; i++)
        fibers[i].state = READY;
    return true;
}

static void run_block(std::vector<unsigned> &warps) {
    for (unsigned i = 0; i < fiber_count; i++)
        prepare(i);
    do {
        shuffle(warps);
        for (unsigned w : warps)
            run_warp(w * LANES);
    } while (pass_barrier());
}

/* ---- launches ---- */

static std::map<const void *, int> shared_limits;   /* of kernels that asked for more than the plain one */

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute, int value) {
    if (value > SHARED_MAX)
        return fail(cudaErrorInvalidValue);
    shared_limits[kernel] = value;
    return cudaSuccess;
}

static bool within_limits(const void *kernel, dim3 blocks, dim3 threads, size_t shared) {
    size_t count = (size_t)threads.x * threads.y * threads.z;
    size_t limit = shared_limits.count(kernel) ? (size_t)shared_limits[kernel] : (size_t)SHARED_PLAIN;
    return count > 0 && count <= THREADS_MAX && threads.z <= 64 && blocks.x > 0 && blocks.y > 0 && blocks.z > 0 &&
           blocks.x <= 0x7fffffff && blocks.y <= BLOCKS_Y_MAX && blocks.z <= BLOCKS_Y_MAX && shared <= limit;
}

void fake_run(const void *kernel, dim3 blocks, dim3 threads, size_t shared, const std::function<void()> &thread) {
    if (!within_limits(kernel, blocks, threads, shared)) {
        last_error = cudaErrorInvalidConfiguration;
        return;
    }
    static char *shared_map = map_pages(round_up(SHARED_MAX, PAGE));
    dynamic_shared = shared_map + round_up(SHARED_MAX, PAGE) - round_up(shared, 16);
    uint64_t seed = (uint64_t)setting("FAKE_CUDA_SEED", 0);
    shuffled = seed != 0;
    chance += seed * 1000003;
    blockDim = threads;
    gridDim = blocks;
    fiber_count = threads.x * threads.y * threads.z;
    thread_function = &thread;
    std::vector<unsigned> block_order((size_t)blocks.x * blocks.y * blocks.z), warps((fiber_count + LANES - 1) / LANES);
    shuffle(block_order);
    fake_open_memory(true);
    for (unsigned b : block_order) {
        blockIdx = dim3(b % blocks.x, b / blocks.x % blocks.y, b / blocks.x / blocks.y);
        memset(dynamic_shared, POISON, shared);
        run_block(warps);
    }
    fake_open_memory(false);
}
