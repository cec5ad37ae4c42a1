/* A tensor of a model: a named stretch of its one array of parameters. For checkpoints and for the optimiser. */
#ifndef JOBS_MODEL_TENSOR_H
#define JOBS_MODEL_TENSOR_H

#include <stdint.h>

enum { MODEL_TENSOR_NAME_MAX = 48, MODEL_DIMENSIONS_MAX = 4 };

struct model_tensor {
    char name[MODEL_TENSOR_NAME_MAX];
    int dimensions;      /* 1 to 4; vectors don't decay */
    int64_t shape[MODEL_DIMENSIONS_MAX];
    int64_t at, count;   /* in the array of parameters */
};

/* A stretch of a gradient is final: called from the array's end to its beginning, as a backward goes. */
typedef void model_ready_fn(void *context, int64_t at, int64_t count);

#endif
