/* For targets that read a file: one without a name, in /proc while it is open. */
#ifndef TESTS_FUZZ_SCRATCH_FILE_H
#define TESTS_FUZZ_SCRATCH_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch_path[64];

/* The same file each time, emptied. */
static FILE *scratch_file(void) {
    static FILE *f;
    if (!f) {
        snprintf(scratch_path, sizeof scratch_path, "/tmp/muster-fuzz.XXXXXX");
        int fd = mkstemp(scratch_path);
        f = fd < 0 ? NULL : fdopen(fd, "w");
        if (!f)
            abort();
        unlink(scratch_path);
        snprintf(scratch_path, sizeof scratch_path, "/proc/self/fd/%d", fd);
    }
    rewind(f);
    if (ftruncate(fileno(f), 0))
        abort();
    return f;
}

/* Its path, with these bytes in it. */
static const char *scratch_with(const void *data, size_t size) {
    FILE *f = scratch_file();
    if (fwrite(data, 1, size, f) != size || fflush(f))
        abort();
    return scratch_path;
}

#endif
