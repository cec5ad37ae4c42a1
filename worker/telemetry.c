/* How busy the host is, from /proc/{stat,meminfo,vmstat,loadavg}. What can't be read is 0. */
#include "worker/telemetry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "worker/paths.h"

/* The number after `key` at the start of a line; 0: no such line. */
static uint64_t field(const char *text, const char *key) {
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0)
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

/* /proc files say size 0, so they are read to a bound instead. */
static void read_text(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, size - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
}

static void sample_cpu(struct telemetry *t, const char *stat, struct heartbeat *into) {
    uint64_t v[8] = {0}, total = 0;
    if (sscanf(stat, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &v[0], &v[1],
               &v[2], &v[3], &v[4],
               &v[5], &v[6], &v[7]) != 8)
        return;
    for (int i = 0; i < 8; i++)
        total += v[i];
    uint64_t busy = total - v[3] - v[4];   /* idle and iowait */
    if (t->cpu_total && total > t->cpu_total)
        into->cpu_pct = (int64_t)((busy - t->cpu_busy) * 100 / (total - t->cpu_total));
    t->cpu_busy = busy;
    t->cpu_total = total;
}

void telemetry_sample(struct telemetry *t, struct heartbeat *into) {
    static char text[64 * 1024];
    int64_t now = clock_boot_ms();
    read_text("/proc/stat", text, sizeof text);
    sample_cpu(t, text, into);
    read_text("/proc/meminfo", text, sizeof text);
    into->mem_total_mib = (int64_t)field(text, "MemTotal:") / 1024;
    into->mem_available_mib = (int64_t)field(text, "MemAvailable:") / 1024;
    into->swap_used_mib = (int64_t)(field(text, "SwapTotal:") - field(text, "SwapFree:")) / 1024;
    read_text("/proc/vmstat", text, sizeof text);
    uint64_t faults = field(text, "pgmajfault ");
    if (t->sampled_ms && now > t->sampled_ms)
        into->page_faults_per_s = (int64_t)(faults - t->major_faults) * 1000 / (now - t->sampled_ms);
    t->major_faults = faults;
    t->sampled_ms = now;
    read_text("/proc/loadavg", text, sizeof text);
    into->load1 = strtod(text, NULL);
}
