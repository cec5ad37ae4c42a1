/* What /proc says of one process of a task. */
#include "worker/process_info.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_proc(pid_t pid, const char *file, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

bool process_is_launcher(pid_t pid) {
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted", "muster-worker"};
    char comm[32];
    if (!read_proc(pid, "comm", comm, sizeof comm))
        return false;
    comm[strcspn(comm, "\n")] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(comm, names[i]) == 0)
            return true;
    return false;
}

bool process_catches(pid_t pid, int signal_number) {
    char text[4096];
    if (!read_proc(pid, "status", text, sizeof text))
        return false;
    const char *line = strstr(text, "\nSigCgt:");
    uint64_t mask = line ? strtoull(line + strlen("\nSigCgt:"), NULL, 16) : 0;
    return mask >> (signal_number - 1) & 1;
}
