/* Libraries of ours that need CUDA. They lie in lib/ beside the program's bin/ and are loaded at run time, so that the programs run where
 * there is none. Each exports one table whose first field is an int, its abi: that both were built from the same header. */
#ifndef JOBS_BACKEND_GPU_LIBRARY_H
#define JOBS_BACKEND_GPU_LIBRARY_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

/* Did Muster allocate real GPUs to this job, not the fake ones of a test cluster? */
bool gpu_is_allocated(void);

/* Which of a node's `count` GPUs a rank takes: its own, by its number, and there is none where that is `count` or more. For tests on a
 * machine with few, MUSTER_SHARE_GPU=1 in the environment lets ranks share them. */
static inline int gpu_of_rank(int local_rank, int count) {
    const char *share = getenv("MUSTER_SHARE_GPU");
    return share && strcmp(share, "1") == 0 && count > 0 ? local_rank % count : local_rank;
}

/* *table: what `file` exports as `symbol`. What is missing is named, with what it is `of` and what else to do. Never unloaded: threads of
 * CUDA's libraries may still run its code. */
int gpu_library_load(const char *file, const char *symbol, int abi, const char *of, const char *remedy, const void **table,
                     struct error *err);

#endif
