/* Fake GPUs: machines that people have, as tables. Bandwidths are GB/s each way, of the best direct path between two GPUs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "worker/gpu.h"

enum { EIGHT = 8 };

/* NVLink bricks between the GPUs of a DGX-1V (hybrid cube mesh), 25 GB/s each: each GPU has six. No brick: over PCIe, 12 GB/s. */
static const char dgx1_bricks[EIGHT][EIGHT + 1] = {
    "01122000",   /* 0: 1 2 3 4 */
    "10210200",
    "12020010",
    "21200001",
    "20000112",
    "02001021",
    "00101202",
    "00012120",
};

static int64_t dgx1_link(int a, int b) {
    int bricks = dgx1_bricks[a][b] - '0';
    return bricks ? 25 * bricks : 12;
}

/* NVSwitch: every pair at full speed. */
static int64_t hgx_link(int a, int b) { return 450; }

/* Two sockets with four GPUs on the PCIe switches of each. */
static int64_t pcie_link(int a, int b) { return a / 4 == b / 4 ? 24 : 10; }

static int64_t island_link(int a, int b) { return 300; }

static const struct profile {
    const char *name, *type;
    int64_t memory_mib;
    int gpus_per_numa, gpus_per_nic;   /* 0: no NIC beside them */
    int64_t (*link_gbs)(int a, int b);
} profiles[] = {
    {"hgx-8xh100", "H100-SXM", 81920, 4, 1, hgx_link},
    {"dgx1-v100", "V100-SXM2", 32768, 4, 2, dgx1_link},
    {"pcie-2x4-numa", "A10", 24576, 4, 4, pcie_link},
};

static void fill(struct gpus *g, const struct profile *p, size_t count, struct arena *arena) {
    char text[64];
    g->fake = true;
    g->count = count;
    text_copy(g->profile, sizeof g->profile, p->name);
    for (size_t i = 0; i < count; i++) {
        struct gpu_inventory *gpu = &g->items[i];
        int n = snprintf(text, sizeof text, "FAKE-%s-%zu", p->name, i);
        *gpu = (struct gpu_inventory){.uuid = arena_copy(arena, text, (size_t)n), .type = p->type, .memory_mib = p->memory_mib,
                                      .numa = (int64_t)i / p->gpus_per_numa};
        n = snprintf(text, sizeof text, "0000:%02zx:00.0", 0x10 + i);
        gpu->pci = arena_copy(arena, text, (size_t)n);
        n = p->gpus_per_nic ? snprintf(text, sizeof text, "mlx5_%zu", i / (size_t)p->gpus_per_nic) : 0;
        gpu->nic = arena_copy(arena, text, (size_t)n);
        gpu->link_gbs = (struct ints){count, arena_array(arena, count, sizeof(int64_t))};
        for (size_t j = 0; j < count; j++)
            gpu->link_gbs.items[j] = i == j ? 0 : p->link_gbs((int)i, (int)j);
    }
}

int gpu_fake_find(struct gpus *g, const char *profile, struct arena *arena, struct error *err) {
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        if (strcmp(profile, profiles[i].name) == 0) {
            fill(g, &profiles[i], EIGHT, arena);
            return 0;
        }
    int64_t count;
    if (text_parse_int(profile, 1, NODE_GPUS_MAX, &count, NULL) != 0)
        return error_set(err, ERR_INVALID, "--gpus fake:%s: expected 1..%d, hgx-8xh100, dgx1-v100 or pcie-2x4-numa", profile,
                         NODE_GPUS_MAX);
    const struct profile island = {"fake", "FAKE", 16384, NODE_GPUS_MAX, 0, island_link};
    fill(g, &island, (size_t)count, arena);
    return 0;
}
