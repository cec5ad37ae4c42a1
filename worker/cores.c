#include "worker/cores.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

static const struct socket_cores *find(const struct host_cores *host, int64_t numa) {
    for (int i = 0; i < host->count; i++)
        if (host->sockets[i].numa == numa)
            return &host->sockets[i];
    return NULL;
}

static bool is_among(const int64_t *numa, size_t count, int64_t one) {
    for (size_t i = 0; i < count; i++)
        if (numa[i] == one)
            return true;
    return false;
}

bool cores_of(const struct host_cores *host, const int64_t *numa, size_t count, int64_t needed, char list[CORES_LIST_MAX]) {
    size_t used = 0;
    int64_t cores = 0;
    list[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const struct socket_cores *s = find(host, numa[i]);
        if (!s || used + strlen(s->list) + 2 > CORES_LIST_MAX) {
            list[0] = '\0';
            return false;
        }
        if (is_among(numa, i, numa[i]))
            continue;
        text_append(list, CORES_LIST_MAX, &used, "%s%s", used ? "," : "", s->list);
        cores += s->count;
    }
    if (!cores || cores < needed)
        list[0] = '\0';
    return list[0] != '\0';
}

/* ---- binding ---- */

static bool parse(const char *list, cpu_set_t *set) {
    CPU_ZERO(set);
    while (*list) {
        char *end;
        long first = strtol(list, &end, 10), last = first;
        if (end == list || first < 0)
            return false;
        if (*end == '-') {
            list = end + 1;
            last = strtol(list, &end, 10);
            if (end == list)
                return false;
        }
        if (last < first || last >= CPU_SETSIZE || (*end && (*end != ',' || !end[1])))
            return false;
        for (long core = first; core <= last; core++)
            CPU_SET((int)core, set);
        list = end + (*end == ',');
    }
    return CPU_COUNT(set) > 0;
}

bool cores_bind(const char *list) {
    cpu_set_t set;
    return parse(list, &set) && sched_setaffinity(0, sizeof set, &set) == 0;
}
