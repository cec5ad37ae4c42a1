/* Chooses where to compute. At most one library is open: a process computes on one GPU. */
#include "jobs/backend/backend.h"

#include <stdio.h>
#include <string.h>

#include "jobs/backend/cpu.h"
#include "jobs/backend/gpu_library.h"
#include "jobs/kernels/instructions.h"

static const struct cuda_library *opened;

const struct backend backend_cpu = {
    .kind = BACKEND_CPU, .precision = BACKEND_FP32, .element = sizeof(float), .device = "CPU", .operations = &cpu_operations};

int backend_parse_kind(const char *name, enum backend_kind *kind, struct error *err) {
    static const char *const names[] = {[BACKEND_AUTO] = "auto", [BACKEND_CPU] = "cpu", [BACKEND_CUDA] = "cuda"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum backend_kind)i;
            return 0;
        }
    return error_set(err, ERR_INVALID, "--backend is auto, cpu or cuda, not '%s'", name);
}

enum backend_kind backend_choose(enum backend_kind kind) {
    return kind != BACKEND_AUTO ? kind : gpu_is_allocated() ? BACKEND_CUDA : BACKEND_CPU;
}

size_t backend_element(enum backend_kind kind, enum backend_precision precision) {
    return backend_choose(kind) == BACKEND_CUDA && precision == BACKEND_BF16 ? sizeof(uint16_t) : sizeof(float);
}

int backend_logits_stride(const struct backend *b, int V) {
    return b->kind == BACKEND_CPU ? V : (V + LOGITS_MULTIPLE - 1) / LOGITS_MULTIPLE * LOGITS_MULTIPLE;
}

static int open_cuda(struct backend *b, int local_rank, struct error *err) {
    const void *table;
    int rc = gpu_library_load("muster-backend-cuda.so", "cuda_library", CUDA_LIBRARY_ABI, "CUDA", "--backend cpu", &table, err);
    const struct cuda_library *library = rc == 0 ? table : NULL;
    if (library && (rc = library->open(local_rank, b->precision, err)) == 0) {
        opened = library;
        b->device = library->device();
        b->operations = library->operations;
    }
    return rc;
}

const char *backend_arithmetic(const struct backend *b, char *buffer, size_t size) {
    char of_gpu[160] = "";
    if (b->kind == BACKEND_CPU) {
        snprintf(buffer, size, "%s", b->device);
    } else {
        opened->arithmetic(of_gpu, sizeof of_gpu);
        snprintf(buffer, size, "cuda, %s: %s", b->precision == BACKEND_BF16 ? "bf16" : "fp32", of_gpu);
    }
    return buffer;
}

int backend_open(struct backend *b, enum backend_kind kind, enum backend_precision precision, int local_rank, struct error *err) {
    static char instructions[64];
    *b = backend_cpu;
    b->kind = backend_choose(kind);
    b->precision = precision;
    b->element = backend_element(b->kind, precision);
    if (b->kind == BACKEND_CUDA)
        return open_cuda(b, local_rank, err);
    linear_use_bf16(precision == BACKEND_BF16);
    b->device = kernels_instructions(instructions, sizeof instructions);
    return 0;
}

void backend_close(struct backend *b) {
    if (opened)
        opened->close();
    opened = NULL;
}
