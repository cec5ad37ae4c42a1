/* The job of the start benchmark: appends "JOB MICROSECONDS", the time at which it began to run, to the file it is given. Linked
 * statically, so that the dynamic linker's milliseconds are not counted as the scheduler's. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    char line[64];
    const char *job = getenv("MUSTER_JOB_ID");
    clock_gettime(CLOCK_BOOTTIME, &now);
    int fd = argc > 1 ? open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0666) : -1;
    int length = snprintf(line, sizeof line, "%s %lld\n", job ? job : "0", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    return fd >= 0 && write(fd, line, (size_t)length) == length ? 0 : 1;
}
