/* Real GPUs, by NVML, which is looked for at run time and by our own prototypes: a worker without a driver has no GPUs and needs no
 * library. Nobody else knows of NVML. Versions of functions are named as the library exports them; their layouts have been stable since
 * they appeared. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "worker/gpu.h"
#include "worker/nic.h"

enum { NVML_SUCCESS = 0, NVML_LINKS_MAX = 18, NVML_TEMPERATURE_GPU = 0, NVML_PCI_BUSID_LENGTH = 32 };

struct nvml_pci {
    char legacy_id[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[NVML_PCI_BUSID_LENGTH];
};
struct nvml_memory { unsigned long long total, free, used; };
struct nvml_utilization { unsigned gpu, memory; };

#define NVML_FUNCTIONS(F)                                                                           \
    F(init, "nvmlInit_v2", (void))                                                                  \
    F(device_count, "nvmlDeviceGetCount_v2", (unsigned *))                                          \
    F(device_by_index, "nvmlDeviceGetHandleByIndex_v2", (unsigned, void **))                        \
    F(device_uuid, "nvmlDeviceGetUUID", (void *, char *, unsigned))                                 \
    F(device_name, "nvmlDeviceGetName", (void *, char *, unsigned))                                 \
    F(device_pci, "nvmlDeviceGetPciInfo_v3", (void *, struct nvml_pci *))                           \
    F(device_memory, "nvmlDeviceGetMemoryInfo", (void *, struct nvml_memory *))                     \
    F(device_utilization, "nvmlDeviceGetUtilizationRates", (void *, struct nvml_utilization *))     \
    F(device_power, "nvmlDeviceGetPowerUsage", (void *, unsigned *))                                \
    F(device_temperature, "nvmlDeviceGetTemperature", (void *, int, unsigned *))                    \
    F(common_ancestor, "nvmlDeviceGetTopologyCommonAncestor", (void *, void *, int *))              \
    F(link_state, "nvmlDeviceGetNvLinkState", (void *, unsigned, int *))                            \
    F(compute_capability, "nvmlDeviceGetCudaComputeCapability", (void *, int *, int *))             \
    F(link_remote, "nvmlDeviceGetNvLinkRemotePciInfo_v2", (void *, unsigned, struct nvml_pci *))

struct nvml {
#define X(name, symbol, arguments) int (*name) arguments;
    NVML_FUNCTIONS(X)
#undef X
};

static bool load(struct nvml *n) {
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return false;
#define X(name, symbol, arguments) *(void **)&n->name = dlsym(library, symbol);
    NVML_FUNCTIONS(X)
#undef X
    return n->init && n->device_count && n->device_by_index && n->device_uuid && n->device_name && n->device_pci && n->device_memory;
}

/* GB/s each way of one NVLink: 20 on Pascal (6.x), 25 on Volta, Ampere and Hopper, 50 since Blackwell (10.x). By the chip, because
 * drivers have been seen to report link version 5.0 for an H100. */
static int64_t link_speed_gbs(const struct gpus *g, size_t i) {
    int major = 0, minor = 0;
    if (!g->nvml->compute_capability || g->nvml->compute_capability(g->device[i], &major, &minor) != NVML_SUCCESS)
        return 25;
    return major <= 6 ? 20 : major < 10 ? 25 : 50;
}

/* "0000:3B:00.0" in NVML's several widths of the domain: compare from the bus on. */
static bool same_bus_id(const char *a, const char *b) {
    const char *x = strchr(a, ':'), *y = strchr(b, ':');
    return x && y && strcasecmp(x, y) == 0;
}

struct links {
    int64_t to_gpu[NODE_GPUS_MAX];
    int64_t to_switch;
};

static void count_links(const struct gpus *g, size_t i, struct links *out) {
    const struct nvml *n = g->nvml;
    int64_t speed_gbs = link_speed_gbs(g, i);
    memset(out, 0, sizeof *out);
    for (unsigned link = 0; n->link_state && n->link_remote && link < NVML_LINKS_MAX; link++) {
        int active = 0;
        struct nvml_pci remote = {0};
        if (n->link_state(g->device[i], link, &active) != NVML_SUCCESS || !active ||
            n->link_remote(g->device[i], link, &remote) != NVML_SUCCESS)
            continue;
        bool found = false;
        for (size_t j = 0; j < g->count && !found; j++)
            if (same_bus_id(remote.bus_id, g->items[j].pci)) {
                out->to_gpu[j] += speed_gbs;
                found = true;
            }
        if (!found)
            out->to_switch += speed_gbs;   /* an NVSwitch, which reaches every GPU that is on it too */
    }
}

/* Over PCIe: within one switch, one host bridge or socket, or across sockets. */
static int64_t pcie_gbs(const struct gpus *g, size_t i, size_t j) {
    enum { ANCESTOR_SINGLE_SWITCH = 10, ANCESTOR_MULTIPLE_SWITCH = 20, ANCESTOR_NODE = 40 };
    int level = ANCESTOR_NODE;
    if (!g->nvml->common_ancestor || g->nvml->common_ancestor(g->device[i], g->device[j], &level) != NVML_SUCCESS)
        return 10;
    return level <= ANCESTOR_MULTIPLE_SWITCH ? 24 : level <= ANCESTOR_NODE ? 16 : 10;
}

static void measure_links(struct gpus *g, struct arena *arena) {
    static struct links links[NODE_GPUS_MAX];
    for (size_t i = 0; i < g->count; i++)
        count_links(g, i, &links[i]);
    for (size_t i = 0; i < g->count; i++) {
        int64_t *row = arena_array(arena, g->count, sizeof *row);
        for (size_t j = 0; j < g->count; j++) {
            int64_t by_switch = links[i].to_switch < links[j].to_switch ? links[i].to_switch : links[j].to_switch;
            int64_t by_link = links[i].to_gpu[j] + by_switch;
            row[j] = i == j ? 0 : by_link > 0 ? by_link : pcie_gbs(g, i, j);
        }
        g->items[i].link_gbs = (struct ints){g->count, row};
    }
}

/* The socket that a PCI device hangs on, from sysfs, whose domain has four digits. */
static int64_t numa_of(const char *bus_id) {
    char path[128], low[64];
    size_t length = strlen(bus_id);
    text_copy(low, sizeof low, length > 12 ? bus_id + length - 12 : bus_id);
    for (char *c = low; *c; c++)
        *c = *c >= 'A' && *c <= 'F' ? (char)(*c + 32) : *c;
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/numa_node", low);
    FILE *file = fopen(path, "re");
    int numa = -1;
    if (file && fscanf(file, "%d", &numa) != 1)
        numa = -1;
    if (file)
        fclose(file);
    return numa;
}

static bool measure(struct gpus *g, unsigned index, struct arena *arena) {
    const struct nvml *n = g->nvml;
    char uuid[96] = "", name[96] = "";
    struct nvml_pci pci = {0};
    struct nvml_memory memory = {0};
    void *device;
    if (n->device_by_index(index, &device) != NVML_SUCCESS || n->device_uuid(device, uuid, sizeof uuid) != NVML_SUCCESS ||
        n->device_name(device, name, sizeof name) != NVML_SUCCESS || n->device_pci(device, &pci) != NVML_SUCCESS)
        return false;
    n->device_memory(device, &memory);
    uuid[63] = name[63] = '\0';   /* what an inventory holds */
    char nic[NIC_NAME_MAX] = "";
    nic_beside("/sys", pci.bus_id, nic, sizeof nic);
    g->device[g->count] = device;
    g->items[g->count++] = (struct gpu_inventory){
        .uuid = arena_copy(arena, uuid, strlen(uuid)), .type = arena_copy(arena, name, strlen(name)),
        .memory_mib = (int64_t)(memory.total >> 20), .numa = numa_of(pci.bus_id),
        .pci = arena_copy(arena, pci.bus_id, strnlen(pci.bus_id, 31)), .nic = arena_copy(arena, nic, strlen(nic))};
    return true;
}

int gpu_nvml_find(struct gpus *g, struct arena *arena, struct error *err) {
    static struct nvml nvml;
    unsigned count = 0;
    if (!load(&nvml))
        return 0;
    int code = nvml.init();
    if (code != NVML_SUCCESS || nvml.device_count(&count) != NVML_SUCCESS) {
        log_warn("nvml_failed", "code=%d: the driver's library is here but doesn't work; no GPU is offered", code);
        return 0;
    }
    if (count > NODE_GPUS_MAX)
        return error_set(err, ERR_INVALID, "%u GPUs; at most %d a node are known", count, NODE_GPUS_MAX);
    g->nvml = &nvml;
    for (unsigned i = 0; i < count; i++)
        if (!measure(g, i, arena))
            log_warn("gpu_skipped", "index=%u can't be read", i);
    measure_links(g, arena);
    return 0;
}

void gpu_nvml_sample(struct gpus *g, struct gpu_telemetry out[NODE_GPUS_MAX]) {
    const struct nvml *n = g->nvml;
    for (size_t i = 0; i < g->count; i++) {
        struct nvml_memory memory = {0};
        struct nvml_utilization use = {0};
        unsigned milliwatts = 0, celsius = 0;
        n->device_memory(g->device[i], &memory);
        if (n->device_utilization)
            n->device_utilization(g->device[i], &use);
        if (n->device_power)
            n->device_power(g->device[i], &milliwatts);
        if (n->device_temperature)
            n->device_temperature(g->device[i], NVML_TEMPERATURE_GPU, &celsius);
        out[i] = (struct gpu_telemetry){use.gpu, (int64_t)(memory.used >> 20), milliwatts / 1000, celsius};
    }
}
