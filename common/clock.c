#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_us(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_boot_ms(void) { return read_us(CLOCK_BOOTTIME) / 1000; }
int64_t clock_boot_us(void) { return read_us(CLOCK_BOOTTIME); }
int64_t clock_wall_ms(void) { return read_us(CLOCK_REALTIME) / 1000; }

void clock_sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

const char *clock_boot_id(void) {
    static char id[40];
    if (!id[0]) {
        FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
        if (!f || !fgets(id, sizeof id, f))
            strcpy(id, "unknown");
        if (f)
            fclose(f);
        id[strcspn(id, "\n")] = '\0';
    }
    return id;
}

const char *clock_format_wall(int64_t wall_ms, char *buffer, size_t size) {
    time_t seconds = wall_ms / 1000;
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(buffer, size, "%Y-%m-%d %H:%M:%S", &tm);
    return buffer;
}
