/* What a node is: its address, its place in the network, its GPUs and the links between them. Measured by the worker, used by
 * the policy. */
#ifndef COMMON_INVENTORY_H
#define COMMON_INVENTORY_H

#include "common/record.h"

enum { NODE_GPUS_MAX = 16, NODE_NAME_MAX = 64, NODE_FEATURES_MAX = 256, NIC_NAME_MAX = 32 };

#define GPU_INVENTORY_FIELDS(F)                                         \
    F(TEXT, uuid, 64)          /* "GPU-..." real, "FAKE-..." fake */    \
    F(TEXT, type, 64)          /* "H100-SXM" */                         \
    F(INT, memory_mib, 0)                                               \
    F(INT, numa, 0)            /* -1 unknown */                         \
    F(TEXT, pci, 32)                                                    \
    F(INTS, link_gbs, 16)      /* GB/s each way to GPU 0..n-1; own entry 0 */ \
    F(TEXT, nic, NIC_NAME_MAX) /* "mlx5_0": the NIC beside it; "": none */

#define INVENTORY_FIELDS(F)                                             \
    F(TEXT, name, NODE_NAME_MAX)                                        \
    F(TEXT, address, 64)       /* that other nodes reach it by */       \
    F(TEXT, rack, 128)         /* leaf switch, "pod1/rack3" or "rack3" */ \
    F(TEXT, hostname, 64)                                               \
    F(INT, cpus, 0)                                                     \
    F(INT, memory_mib, 0)                                               \
    F(INT, nic_gbs, 0)         /* GB/s into the leaf switch */          \
    F(ROWS, gpus, gpu_inventory)                                        \
    F(TEXT, profile, 64)       /* name of the GPU topology, "" if measured */ \
    F(BOOL, fake, 0)                                                    \
    F(TEXT, cgroup, 64)        /* what contains tasks: "v2", "v2+v1:memory,cpu", "none" */ \
    F(TEXT, version, 64)       /* of the worker */                      \
    F(TEXT, features, NODE_FEATURES_MAX) /* "nvme,ib": what jobs may ask for */

RECORD_DECLARE(gpu_inventory, GPU_INVENTORY_FIELDS)
RECORD_DECLARE(inventory, INVENTORY_FIELDS)

#endif
