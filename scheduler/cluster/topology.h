/* The shape of a node's GPUs: links, islands, and tables that make placement inside a node exact instead of greedy.
 *
 * Nodes with equal GPUs and links share one shape. For every subset of up to 16 GPUs the table holds the bottleneck bandwidth of the best
 * ring through it (the largest w such that a Hamiltonian cycle with links >= w exists), computed once by dynamic programming over
 * subsets.
 */
#ifndef SCHEDULER_CLUSTER_TOPOLOGY_H
#define SCHEDULER_CLUSTER_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

struct gpu_shape {
    int32_t count;               /* 0..16 */
    char type[64];               /* "H100-SXM" */
    int32_t gpu_type;            /* its index into cluster.gpu_types */
    int64_t memory_mib;
    uint16_t link_gbs[16][16];
    int8_t numa[16];
    char nic[16][32];            /* the NIC beside each; "": none */
    uint16_t islands[16];        /* bit masks of GPUs joined by the node's fastest links */
    int32_t island_count;
    uint16_t *ring_gbs;          /* [1 << count]: bottleneck of the best ring; pairs: their link; single GPUs: UINT16_MAX */
    uint16_t widest_gbs[17];     /* by number of GPUs: the bottleneck of the best ring through so many of them */
    bool fake;
};

/* Fills islands, widest_gbs and ring_gbs (allocated) from count and link_gbs. */
void gpu_shape_compute(struct gpu_shape *s);
void gpu_shape_release(struct gpu_shape *s);

/* The GPUs of `mask` in the order of a best ring, lowest first. Returns how many. */
int gpu_shape_ring_order(const struct gpu_shape *s, uint32_t mask, uint8_t order[16]);

/* The island that holds all of mask, -1 if more than one is needed. */
int gpu_shape_island(const struct gpu_shape *s, uint32_t mask);

#endif
