/* Where a worker keeps things; see paths.h for the map. */
#include "worker/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"
#include "common/xmalloc.h"

/* FNV-1a: a name for a folder, not a secret. */
static uint32_t hash_text(uint32_t hash, const char *s) {
    for (; *s; s++)
        hash = (hash ^ (unsigned char)*s) * 16777619u;
    return hash;
}

static int make_folder(const char *path, mode_t mode, struct error *err) {
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return error_set_errno(err, ERR_IO, "making the folder %s", path);
    return 0;
}

/* Asks ext4 to spread what is made in this folder over the disk. Without a journal it reuses the inode of a removed file after minutes
 * only, and each creation nearby walks over all of those: at hundreds of short tasks a second this walk cost more than the tasks
 * themselves (measured: 6.2 -> 3.7 ms of CPU a task). Other file systems refuse or ignore it. */
static void spread_folders(const char *path) {
    int flags, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_TOPDIR_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (fd >= 0)
        close(fd);
}

/* Every parent of the state folder, for a first start with --state /new/deep/folder. */
static int make_parents(const char *path, struct error *err) {
    char copy[PATH_MAX];
    if (!text_copy(copy, sizeof copy, path))
        return error_set(err, ERR_INVALID, "--state: the path is longer than %d bytes", PATH_MAX - 1);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0755) != 0 && errno != EEXIST && errno != EROFS)
            return error_set_errno(err, ERR_IO, "making the folder %s", copy);
        *slash = '/';
    }
    return make_folder(copy, 0755, err);
}

/* A job's user must be able to walk down to its socket: each folder on the way needs x for others. */
static bool others_can_enter(const char *path) {
    char copy[PATH_MAX];
    text_copy(copy, sizeof copy, path);
    for (;;) {
        struct stat st;
        if (stat(copy, &st) != 0 || !(st.st_mode & S_IXOTH))
            return 0;
        char *slash = strrchr(copy, '/');
        if (!slash || slash == copy)
            return 1;
        *slash = '\0';
    }
}

/* RUN is STATE/run where that is short and open enough, else a folder of our own under /tmp. */
static int choose_run(struct paths *p, struct error *err) {
    char inside[PATH_MAX];
    snprintf(inside, sizeof inside, "%s/run", p->state);
    bool open_enough = geteuid() != 0 || others_can_enter(p->state);
    if (strlen(inside) < RUN_FOLDER_MAX && open_enough) {
        text_copy(p->run, sizeof p->run, inside);
        if (make_folder(p->run, 0711, err) != 0)
            return err->code;
    } else {
        snprintf(p->run, sizeof p->run, "/tmp/muster-%u-%s", (unsigned)geteuid(), p->tag);
        if (make_folder(p->run, 0711, err) != 0)
            return err->code;
        struct stat st;
        if (lstat(p->run, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
            return error_set(err, ERR_DENIED, "%s is not a folder of this worker's user: remove it and start again", p->run);
    }
    return chmod(p->run, 0711) == 0 ? 0 : error_set_errno(err, ERR_IO, "chmod %s", p->run);
}

int paths_init(struct paths *p, const char *state, const char *name, struct error *err) {
    memset(p, 0, sizeof *p);
    if (make_parents(state, err) != 0)
        return err->code;
    char whole[PATH_MAX];
    if (!realpath(state, whole) || !text_copy(p->state, sizeof p->state, whole))
        return error_set_errno(err, ERR_IO, "--state %s", state);
    snprintf(p->tag, sizeof p->tag, "%08x", hash_text(hash_text(2166136261u, p->state), name));
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tasks", p->state);
    if (make_folder(path, 0700, err) != 0 || choose_run(p, err) != 0)
        return err->code;
    spread_folders(path);
    spread_folders(p->run);
    if ((size_t)snprintf(p->launcher_socket, sizeof p->launcher_socket, "%s/launcher.sock", p->state) >= sizeof p->launcher_socket)
        snprintf(p->launcher_socket, sizeof p->launcher_socket, "%s/launcher.sock", p->run);
    return 0;
}

void paths_task(const struct paths *p, int64_t job, int64_t attempt, const char *file, char out[PATH_MAX]) {
    snprintf(out, PATH_MAX, "%s/tasks/%" PRId64 ".%" PRId64 "%s%s", p->state, job, attempt, file ? "/" : "", file ? file : "");
}

void paths_run(const struct paths *p, int64_t job, int64_t attempt, const char *file, char out[PATH_MAX]) {
    snprintf(out, PATH_MAX, "%s/%" PRId64 ".%" PRId64 "%s%s", p->run, job, attempt, file ? "/" : "", file ? file : "");
}

void paths_shm(const struct paths *p, int64_t job, int64_t attempt, char out[PATH_MAX]) {
    snprintf(out, PATH_MAX, "/dev/shm/muster.%" PRId64 ".%" PRId64 ".%s", job, attempt, p->tag);
}

/* Removes what `folder` (taken) holds. depth bounds the descriptors that a hostile tree can make us hold. */
static void empty_folder(int folder, int depth) {
    DIR *dir = fdopendir(folder);
    if (!dir) {
        close(folder);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || (errno != EISDIR && errno != EPERM) || depth == 0)
            continue;
        int inner = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0)
            empty_folder(inner, depth - 1);
        unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    }
    closedir(dir);
}

void paths_remove_tree(const char *path) {
    if (rmdir(path) == 0 || errno == ENOENT)
        return;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder >= 0)
        empty_folder(folder, 64);
    rmdir(path);
}

int paths_write_file(const char *path, const void *data, size_t size, mode_t mode, struct error *err) {
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
        return error_set(err, ERR_INVALID, "%s: path too long", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return error_set_errno(err, ERR_IO, "writing %s", temporary);
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        done += (size_t)n;
    }
    bool failed = done < size || fchmod(fd, mode) != 0;
    if (close(fd) != 0 || failed || rename(temporary, path) != 0) {
        error_set_errno(err, ERR_IO, "writing %s", path);
        unlink(temporary);
        return ERR_IO;
    }
    return 0;
}

char *paths_read_file(const char *path, size_t limit, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) != 0 || st.st_size < 0 || (size_t)st.st_size > limit) {
        close(fd);
        return NULL;
    }
    char *data = xmalloc((size_t)st.st_size + 1);
    size_t done = 0;
    ssize_t n;
    while (done < (size_t)st.st_size && (n = read(fd, data + done, (size_t)st.st_size - done)) > 0)
        done += (size_t)n;
    close(fd);
    data[done] = '\0';
    *size = done;
    return data;
}
