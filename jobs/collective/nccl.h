/* What muster-collective-nccl.so exports: one table under the name `nccl_library`. It is loaded at run time, so that the programs run where
 * there is no CUDA; the table's abi says whether both were built from the same header. */
#ifndef JOBS_COLLECTIVE_NCCL_H
#define JOBS_COLLECTIVE_NCCL_H

#include "jobs/collective/collective.h"

enum { NCCL_LIBRARY_ABI = 3, NCCL_ID_SIZE = 128 };

struct nccl_library {
    int abi;
    /* Takes GPU number local_rank of the visible ones. What can fail without the peers fails here, before any of them waits. */
    int (*choose_gpu)(int local_rank, struct error *err);
    /* One rank makes the id; the caller takes it to the others. */
    int (*make_id)(unsigned char id[NCCL_ID_SIZE], struct error *err);
    /* Joins the group. Bounded in time, as each sum is: a peer that doesn't come is an error. */
    int (*open)(void **state, const unsigned char id[NCCL_ID_SIZE], int rank, int size, int timeout_s, struct error *err);
    const struct collective_way *way, *gpu_way;   /* of values in host memory, and in the GPU's; either has the state of open */
};

#endif
