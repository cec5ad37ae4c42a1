/* The NIC beside a GPU: of the RDMA devices of this machine the one that shares most of the way to the processor with it. */
#ifndef WORKER_NIC_H
#define WORKER_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* sys: "/sys". pci: the GPU's place, "0000:3b:00.0" in NVML's widths. False: there is none on its socket. */
bool nic_beside(const char *sys, const char *pci, char *name, size_t size);

#endif
