#include "scheduler/cluster/topology.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/xmalloc.h"

static uint16_t least(uint16_t a, uint16_t b) { return a < b ? a : b; }
static int lowest(uint32_t mask) { return __builtin_ctz(mask); }

/* Islands: the connected parts of the graph that the node's fastest links make. */
static void compute_islands(struct gpu_shape *s) {
    uint16_t fastest = 0;
    uint32_t left = (1u << s->count) - 1;
    for (int i = 0; i < s->count; i++)
        for (int j = 0; j < s->count; j++)
            if (i != j && s->link_gbs[i][j] > fastest)
                fastest = s->link_gbs[i][j];
    s->island_count = 0;
    while (left) {
        uint32_t island = left & -left, before = 0;
        while (island != before) {
            before = island;
            for (int i = 0; i < s->count; i++)
                for (int j = 0; j < s->count; j++)
                    if (i != j && before & 1u << i && s->link_gbs[i][j] == fastest)
                        island |= 1u << j;
        }
        s->islands[s->island_count++] = (uint16_t)island;
        left &= ~island;
    }
}

/* path[mask][last]: the bottleneck of the best path that starts at the lowest GPU of mask, visits all of it and ends at last. A ring is
 * such a path, closed (Held and Karp 1962, with min and max for sum and min). */
static void compute_rings(struct gpu_shape *s) {
    uint32_t subsets = 1u << s->count;
    uint16_t (*path)[16] = xcalloc(subsets, sizeof *path);
    s->ring_gbs = xmalloc(subsets * sizeof *s->ring_gbs);
    s->ring_gbs[0] = UINT16_MAX;
    for (uint32_t mask = 1; mask < subsets; mask++) {
        int start = lowest(mask);
        uint16_t ring = 0;
        if (mask == 1u << start) {
            path[mask][start] = UINT16_MAX;
            s->ring_gbs[mask] = UINT16_MAX;
            continue;
        }
        for (uint32_t ends = mask & (mask - 1); ends; ends &= ends - 1) {
            int last = lowest(ends);
            uint32_t rest = mask & ~(1u << last);
            for (uint32_t m = rest; m; m &= m - 1) {
                int from = lowest(m);
                uint16_t width = least(path[rest][from], s->link_gbs[from][last]);
                if (width > path[mask][last])
                    path[mask][last] = width;
            }
            uint16_t closed = least(path[mask][last], s->link_gbs[last][start]);
            ring = closed > ring ? closed : ring;
        }
        s->ring_gbs[mask] = ring;
    }
    free(path);
}

static void compute_widest(struct gpu_shape *s) {
    for (uint32_t mask = 0; mask < 1u << s->count; mask++) {
        uint16_t *widest = &s->widest_gbs[__builtin_popcount(mask)];
        *widest = s->ring_gbs[mask] > *widest ? s->ring_gbs[mask] : *widest;
    }
}

void gpu_shape_compute(struct gpu_shape *s) {
    assert(s->count >= 0 && s->count <= 16);
    compute_islands(s);
    compute_rings(s);
    compute_widest(s);
}

void gpu_shape_release(struct gpu_shape *s) {
    free(s->ring_gbs);
    *s = (struct gpu_shape){0};
}

/* From which GPUs can the ring still be closed over what is not visited? Bit i of close[visited]: from GPU number i of the mask. */
static void compute_closings(const struct gpu_shape *s, const uint8_t *gpu, int count, uint16_t width, uint16_t *close) {
    uint32_t all = (1u << count) - 1;
    for (uint32_t visited = all; visited; visited--)
        for (int i = 0; i < count; i++) {
            if (!(visited & 1u << i))
                continue;
            bool can = visited == all && s->link_gbs[gpu[i]][gpu[0]] >= width;
            for (int j = 0; j < count && !can; j++)
                can = !(visited & 1u << j) && s->link_gbs[gpu[i]][gpu[j]] >= width && close[visited | 1u << j] & 1u << j;
            close[visited] = (uint16_t)(close[visited] | (can ? 1u << i : 0));
        }
}

static bool all_joined(const struct gpu_shape *s, const uint8_t *gpu, int count, uint16_t width) {
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++)
            if (s->link_gbs[gpu[i]][gpu[j]] < width || s->link_gbs[gpu[j]][gpu[i]] < width)
                return false;
    return true;
}

int gpu_shape_ring_order(const struct gpu_shape *s, uint32_t mask, uint8_t order[16]) {
    int count = 0;
    uint8_t gpu[16];
    for (uint32_t m = mask; m; m &= m - 1)
        gpu[count++] = (uint8_t)lowest(m);
    memcpy(order, gpu, (size_t)count);
    if (count < 3 || all_joined(s, gpu, count, s->ring_gbs[mask]))
        return count;
    uint16_t *close = xcalloc((size_t)1 << count, sizeof *close);
    compute_closings(s, gpu, count, s->ring_gbs[mask], close);
    uint32_t visited = 1;
    for (int at = 0, placed = 1; placed < count; placed++) {
        int next = 1;
        while (visited & 1u << next || s->link_gbs[gpu[at]][gpu[next]] < s->ring_gbs[mask] || !(close[visited | 1u << next] & 1u << next))
            next++;
        visited |= 1u << next;
        order[placed] = gpu[next];
        at = next;
    }
    free(close);
    return count;
}

int gpu_shape_island(const struct gpu_shape *s, uint32_t mask) {
    for (int i = 0; i < s->island_count; i++)
        if (!(mask & ~(uint32_t)s->islands[i]))
            return i;
    return -1;
}
