/* The environment of a task's processes; the list is docs/job-contract.md. */
#include "worker/environment.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

static const struct gang_member *member(const struct start *order, int64_t node) {
    return (const struct gang_member *)order->gang.items + node;
}

int64_t gang_ranks_before(const struct start *order, int node) {
    int64_t ranks = 0;
    for (int i = 0; i < node; i++)
        ranks += member(order, i)->ranks;
    return ranks;
}

int64_t gang_ranks(const struct start *order) {
    return gang_ranks_before(order, (int)order->gang.count);
}

static const char **find(const struct environment *e, const char *name, size_t length) {
    for (size_t i = 0; i < e->count; i++)
        if (strncmp(e->items[i], name, length) == 0 && e->items[i][length] == '=')
            return &e->items[i];
    return NULL;
}

bool environment_has(const struct environment *e, const char *name) {
    return find(e, name, strlen(name)) != NULL;
}

static void add(struct environment *e, const char *item) {
    if (e->count == e->capacity) {
        size_t grown = e->capacity ? e->capacity * 2 : 128;
        const char **items = arena_array(e->arena, grown, sizeof *items);
        if (e->count)
            memcpy(items, e->items, e->count * sizeof *items);
        e->items = items;
        e->capacity = grown;
    }
    e->items[e->count++] = item;
}

void environment_set(struct environment *e, const char *name, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    size_t head = strlen(name) + 1;
    char *item = arena_alloc(e->arena, head + (size_t)length + 1);
    memcpy(item, name, head - 1);
    item[head - 1] = '=';
    vsnprintf(item + head, (size_t)length + 1, format, again);
    va_end(again);
    const char **old = find(e, name, head - 1);
    if (old)
        *old = item;
    else
        add(e, item);
}

/* Ranks see what launched them; what an outer mpirun or another Muster job left in the user's shell would mislead them. */
static bool is_left_over(const char *item) {
    static const char *const prefixes[] = {"MUSTER_JOB", "MUSTER_ATTEMPT=", "MUSTER_N", "MUSTER_GPUS", "MUSTER_CPUS=", "MUSTER_SUBMIT_DIR=",
                                           "MUSTER_TMPDIR=", "MUSTER_ARRAY_",
                                           "MUSTER_DEADLINE=", "MUSTER_SOCKET=", "MUSTER_SCRIPT=", "MUSTER_RESUME",
                                           "OMPI_COMM_WORLD_", "OMPI_UNIVERSE",
                                           "PMIX_", "RANK=", "WORLD_SIZE=", "LOCAL_RANK=", "LOCAL_WORLD_SIZE=", "NODE_RANK="};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(item, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static void take_users(struct environment *e, const struct start *order) {
    for (size_t i = 0; i < order->spec.environment.count; i++)
        if (strchr(order->spec.environment.items[i], '=') && !is_left_over(order->spec.environment.items[i]))
            add(e, order->spec.environment.items[i]);
    if (!environment_has(e, "PATH"))
        environment_set(e, "PATH", "/usr/local/bin:/usr/bin:/bin");
    if (!environment_has(e, "USER"))
        environment_set(e, "USER", "%s", order->user);
}

/* Of an array, the element that it is. */
static void set_element(struct environment *e, const struct start *order) {
    if (!order->array)
        return;
    environment_set(e, "MUSTER_ARRAY_JOB_ID", "%" PRId64, order->array);
    environment_set(e, "MUSTER_ARRAY_INDEX", "%" PRId64, order->element);
    environment_set(e, "MUSTER_ARRAY_TASK_ID", "%" PRId64, order->element);   /* who comes from Slurm looks for this name */
}

static void set_place(struct environment *e, const struct start *order) {
    char names[8192];
    size_t used = 0;
    for (size_t i = 0; i < order->gang.count; i++)
        text_append(names, sizeof names, &used, "%s%s", i ? "," : "", member(order, (int64_t)i)->node);
    environment_set(e, "MUSTER_NNODES", "%zu", order->gang.count);
    environment_set(e, "MUSTER_NODELIST", "%s", used ? names : order->node);
    environment_set(e, "MUSTER_NODE_RANK", "%" PRId64, order->node_rank);
    environment_set(e, "MUSTER_GPUS_ON_NODE", "%zu", order->gpus.count);
}

void environment_of_task(struct environment *e, const struct start *order, const struct paths *paths, const char *gpus, const char *script,
                         int64_t master_port) {
    char path[PATH_MAX];
    take_users(e, order);
    environment_set(e, "MUSTER_JOB_ID", "%" PRId64, order->job);
    environment_set(e, "MUSTER_ATTEMPT", "%" PRId64, order->attempt);
    environment_set(e, "MUSTER_JOB_NAME", "%s", order->spec.name);
    set_element(e, order);
    set_place(e, order);
    environment_set(e, "MUSTER_SUBMIT_DIR", "%s", order->spec.directory);
    paths_run(paths, order->job, order->attempt, "tmp", path);
    environment_set(e, "MUSTER_TMPDIR", "%s", path);
    environment_set(e, "TMPDIR", "%s", path);
    paths_run(paths, order->job, order->attempt, "socket", path);
    environment_set(e, "MUSTER_SOCKET", "%s", path);
    if (order->deadline_wall_ms > 0)
        environment_set(e, "MUSTER_DEADLINE", "%" PRId64, order->deadline_wall_ms / 1000);
    if (script)
        environment_set(e, "MUSTER_SCRIPT", "%s", script);
    environment_set(e, "CUDA_VISIBLE_DEVICES", "%s", gpus);
    if (!environment_has(e, "OMP_NUM_THREADS"))
        environment_set(e, "OMP_NUM_THREADS", "%" PRId64, order->spec.cpus > 0 ? order->spec.cpus : 1);
    if (master_port > 0 && order->gang.count > 0) {
        environment_set(e, "MASTER_ADDR", "%s", member(order, 0)->address);
        environment_set(e, "MASTER_PORT", "%" PRId64, master_port);
    }
}

void environment_of_rank(struct environment *e, const struct start *order, int local_rank) {
    environment_set(e, "RANK", "%" PRId64, gang_ranks_before(order, (int)order->node_rank) + local_rank);
    environment_set(e, "WORLD_SIZE", "%" PRId64, gang_ranks(order));
    environment_set(e, "LOCAL_RANK", "%d", local_rank);
    environment_set(e, "LOCAL_WORLD_SIZE", "%" PRId64, member(order, order->node_rank)->ranks);
    environment_set(e, "NODE_RANK", "%" PRId64, order->node_rank);
}
