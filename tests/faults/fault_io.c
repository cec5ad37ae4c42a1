/* Loaded into musterd with LD_PRELOAD: the calls by which SQLite changes its files pass through here, are counted, and fail or are recorded
 * as fault_io.h says. What it does not see: memory maps (SQLite's shared-memory index, which no recovery reads), and reads. */
#include "tests/faults/fault_io.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum call { CALL_WRITE, CALL_TRUNCATE, CALL_SYNC, CALL_REMOVE };

static struct fault_control *control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal_fd = -1;

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv(FAULT_IO_VARIABLE);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (control == MAP_FAILED)
        control = NULL;
    else if (control->record)
        journal_fd = open(control->journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

/* The file's number, 100 for the index, which is in no journal, and -1 for files that are none of ours. */
static int file_of_path(const char *path) {
    size_t length = strlen(control->folder);
    if (strncmp(path, control->folder, length))
        return -1;
    if (!path[length])
        return JOURNAL_FOLDER;
    if (!strcmp(path + length, "/muster.db"))
        return JOURNAL_DATABASE;
    if (!strcmp(path + length, "/muster.db-wal"))
        return JOURNAL_LOG;
    return strncmp(path + length, "/muster.db-", 11) ? -1 : 100;
}

static int file_of_fd(int fd) {
    char link[40], path[512];
    if (!control)
        return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return -1;
    path[n] = '\0';
    return file_of_path(path);
}

/* true: this call fails; errno is set. */
static int fails(enum call call, int *torn) {
    long long number = atomic_fetch_add(&control->calls, 1) + 1, at = control->fail_at;
    int kind = control->kind;
    *torn = 0;
    if (!at || number < at || ((kind == FAULT_ONCE || kind == FAULT_TORN) && number > at))
        return 0;
    if (kind == FAULT_FULL && (call == CALL_SYNC || call == CALL_REMOVE))
        return 0;
    atomic_fetch_add(&control->injected, 1);
    *torn = kind == FAULT_TORN && call == CALL_WRITE;
    errno = kind == FAULT_FULL ? ENOSPC : EIO;
    return 1;
}

static void record(enum journal_kind kind, int file, const void *data, off_t offset, size_t size) {
    struct journal_entry e = {kind, file, offset, (int64_t)size};
    int saved = errno;
    if (journal_fd < 0 || file >= JOURNAL_FILES)
        return;
    pthread_mutex_lock(&lock);
    if (syscall(SYS_write, journal_fd, &e, sizeof e) != sizeof e || (data && syscall(SYS_write, journal_fd, data, size) != (long)size))
        abort();
    atomic_fetch_add(&control->recorded, 1);
    pthread_mutex_unlock(&lock);
    errno = saved;
}

static ssize_t write_at(int fd, const void *data, size_t size, off_t offset) {
    int torn, file = file_of_fd(fd);
    if (file < 0)
        return syscall(SYS_pwrite64, fd, data, size, offset);
    if (fails(CALL_WRITE, &torn)) {
        int saved = errno;
        if (torn && size > 1)
            syscall(SYS_pwrite64, fd, data, size / 2 + 1, offset);
        errno = saved;
        return -1;
    }
    ssize_t n = syscall(SYS_pwrite64, fd, data, size, offset);
    if (n > 0)
        record(JOURNAL_WRITE, file, data, offset, (size_t)n);
    return n;
}

static int truncate_to(int fd, off_t size) {
    int torn, file = file_of_fd(fd);
    if (file >= 0 && fails(CALL_TRUNCATE, &torn))
        return -1;
    int r = (int)syscall(SYS_ftruncate, fd, size);
    if (!r && file >= 0)
        record(JOURNAL_TRUNCATE, file, NULL, size, 0);
    return r;
}

static int sync_by(long call, int fd) {
    int torn, file = file_of_fd(fd);
    if (file >= 0 && fails(CALL_SYNC, &torn))
        return -1;
    int r = (int)syscall(call, fd);
    if (!r && file >= 0)
        record(JOURNAL_SYNC, file, NULL, 0, 0);
    return r;
}

/* The C library's names. Declared here, because its headers mark some of them in ways that a definition may not repeat. */
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return write_at(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return write_at(fd, data, size, offset); }
int ftruncate(int fd, off_t size) { return truncate_to(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_to(fd, size); }
int fsync(int fd) { return sync_by(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }

int unlink(const char *path) {
    int torn, file = control ? file_of_path(path) : -1;
    if (file >= 0 && fails(CALL_REMOVE, &torn))
        return -1;
    int r = (int)syscall(SYS_unlink, path);
    if (!r && file >= 0)
        record(JOURNAL_REMOVE, file, NULL, 0, 0);
    return r;
}
