/* A driver library of four GPUs, for test_nvml.c: 0 and 1 joined by two NVLinks, 2 and 3 on an NVSwitch by eighteen each; nothing else
 * between them but PCIe, across sockets. Loaded as libnvidia-ml.so.1, by the names and layouts of the real one. */
#include <stdio.h>
#include <string.h>

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
struct memory { unsigned long long total, free, used; };
struct utilization { unsigned gpu, memory; };

static int names[4];   /* a GPU's handle is the address of its entry */
static int index_of(void *device) { return (int)((int *)device - names); }

int nvmlInit_v2(void);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetUUID(void *device, char *text, unsigned size);
int nvmlDeviceGetName(void *device, char *text, unsigned size);
int nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci);
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory);
int nvmlDeviceGetUtilizationRates(void *device, struct utilization *use);
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
int nvmlDeviceGetTopologyCommonAncestor(void *a, void *b, int *level);
int nvmlDeviceGetNvLinkState(void *device, unsigned link, int *active);
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor);
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void *device, unsigned link, struct pci *pci);

int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { return (int)(*count = 4) - 4; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { return index < 4 ? *device = &names[index], 0 : 2; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) { return snprintf(text, size, "GPU-%d", index_of(device)) < 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) { return snprintf(text, size, "NVIDIA H100") < 0; }

int nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", 0xA0 + index_of(device));
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory) {
    *memory = (struct memory){80ULL << 30, 79ULL << 30, 1ULL << 30};
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *device, struct utilization *use) {
    *use = (struct utilization){(unsigned)(10 * index_of(device)), 1};
    return 0;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { return (int)(*milliwatts = 350000) - 350000; }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) { return (int)(*celsius = 55) - 55; }
int nvmlDeviceGetTopologyCommonAncestor(void *a, void *b, int *level) { return (*level = 50) - 50; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { return *major = 9, *minor = 0; }

int nvmlDeviceGetNvLinkState(void *device, unsigned link, int *active) {
    *active = link < (index_of(device) < 2 ? 2u : 18u);
    return 0;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(void *device, unsigned link, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    int i = index_of(device);
    if (i < 2)   /* in another width of the domain than the GPU's own */
        snprintf(pci->bus_id, sizeof pci->bus_id, "0000:%02x:00.0", 0xA0 + 1 - i);
    else
        snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:E0:00.0");
    return 0;
}
