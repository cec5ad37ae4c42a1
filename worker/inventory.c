/* What this node offers: cores by hwloc (which knows about cpusets), GPUs by gpu.h, the rest as told. */
#include "worker/inventory.h"

#include <hwloc.h>
#include <string.h>
#include <unistd.h>

#include "common/version.h"

static void measure_sockets(hwloc_topology_t topology, struct host_cores *cores) {
    int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    for (int i = 0; i < count && cores->count < SOCKETS_MAX; i++) {
        const struct hwloc_obj *node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, (unsigned)i);
        struct socket_cores *s = &cores->sockets[cores->count];
        int length = hwloc_bitmap_list_snprintf(s->list, sizeof s->list, node->cpuset);
        s->numa = node->os_index;
        s->count = hwloc_bitmap_weight(node->cpuset);
        cores->count += length > 0 && length < (int)sizeof s->list && s->count > 0;   /* memory without cores is no socket */
    }
}

static int measure_host(struct host_cores *cores, int64_t *cpus, int64_t *memory_mib, struct error *err) {
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0 || hwloc_topology_load(topology) != 0)
        return error_set(err, ERR_FAILED, "hwloc can't read this machine's topology");
    int units = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
    *cpus = units > 0 ? units : sysconf(_SC_NPROCESSORS_ONLN);
    /* Not hwloc's sum over NUMA nodes: it misses memory that was plugged in later. */
    *memory_mib = (int64_t)sysconf(_SC_PHYS_PAGES) * (sysconf(_SC_PAGESIZE) / 1024) / 1024;
    measure_sockets(topology, cores);
    hwloc_topology_destroy(topology);
    return 0;
}

int inventory_measure(struct agent *a, struct error *err) {
    static struct gpus gpus;
    static char hostname[64];
    int64_t cpus = 0, memory_mib = 0;
    const struct agent_options *o = &a->options;
    if (gpus_find(&gpus, o->gpus, &a->arena, err) != 0 || measure_host(&a->cores, &cpus, &memory_mib, err) != 0)
        return err->code;
    a->gpus = &gpus;
    gethostname(hostname, sizeof hostname - 1);
    a->inventory = (struct inventory){.name = o->name, .address = o->address, .rack = o->rack, .hostname = hostname,
                                      .cpus = o->cpus > 0 ? o->cpus : cpus, .memory_mib = o->memory_mib > 0 ? o->memory_mib : memory_mib,
                                      .nic_gbs = o->nic_gbs, .gpus = {gpus.count, gpus.items}, .profile = gpus.profile, .fake = gpus.fake,
                                      .cgroup = "none", .version = muster_version,
                                      .features = o->features};
    return 0;
}
