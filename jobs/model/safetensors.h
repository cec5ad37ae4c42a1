/* The safetensors file format, fp32 only: eight bytes of header length, a JSON header with name, shape and offsets of each tensor, then the
 * numbers, little-endian. It knows nothing of models: the caller says which tensors it has, or wants. */
#ifndef JOBS_MODEL_SAFETENSORS_H
#define JOBS_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "jobs/model/tensor.h"

struct safetensor {
    const char *name;
    int dimensions;      /* 1 to 4 */
    int64_t shape[MODEL_DIMENSIONS_MAX];
    float *values;       /* as many floats as the shape says; read from when writing, written to when reading */
};

/* Writes and fsyncs a new file. *size and *checksum (CRC-32) are those of the whole file. After a failure what was written stays, for the
 * caller to remove. */
int safetensors_write(const char *path, const struct safetensor *tensors, size_t count, int64_t *size, uint32_t *checksum,
                      struct error *err);

/* Has the file a tensor of this name? */
int safetensors_has(const char *path, const char *name, bool *has, struct error *err);

/* Fills the tensors' values from the file. Each must be there with its shape; other tensors in the file are left alone. The caller has
 * compared the file's checksum before: a failure may leave some tensors filled. */
int safetensors_read(const char *path, const struct safetensor *tensors, size_t count, struct error *err);

#endif
