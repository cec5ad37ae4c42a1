/* F4: the power fails. musterd works under the shim, which records every write, truncation, sync and removal of the store's files; the test
 * then builds what a disk could hold had the power failed at a random entry: all that was synced, and of the rest, sector by sector, any of
 * the versions that were written, or none (dropped, reordered and torn writes at once).
 *
 * Passes when each image opens, PRAGMA integrity_check says ok, and every job is there that had been acknowledged by then. Some are started
 * by musterd too.
 *
 *     power_loss [--images 50] [--jobs 3000] [--seed N]
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/options.h"
#include "common/xmalloc.h"
#include "tests/faults/claims.h"
#include "tests/faults/shim.h"

enum { SECTOR = 512, STARTED_OF = 25 }; /* one image in so many is started by musterd */

struct args {
    int64_t images, jobs, seed;
};

static const struct option_row rows[] =
    {{"images", 'n', OPTION_INT, offsetof(struct args, images), "N", "moments at which the power fails", .min = 1, .max = 1000000},
     {"jobs", 'j', OPTION_INT, offsetof(struct args, jobs), "N", "submitted while it is recorded", .min = 10, .max = 100000},
     {"seed", 's', OPTION_INT, offsetof(struct args, seed), "N", "of the moments and of what is lost", .max = INT64_MAX},
     {0}};

/* ---- what a disk holds ---- */

struct write {
    const struct journal_entry *entry;
    struct write *before;
};

/* A file as it is surely on the disk, and what was done to it since its last sync, the latest first. */
struct disk_file {
    unsigned char *data;
    size_t size, capacity;
    bool exists, name_is_durable;
    struct write *pending;
    int pending_count;
};

static void grow(struct disk_file *f, size_t size) {
    if (size > f->capacity) {
        size_t capacity = size * 2;
        f->data = xrealloc(f->data, capacity);
        memset(f->data + f->capacity, 0, capacity - f->capacity);
        f->capacity = capacity;
    }
    if (size > f->size)
        f->size = size;
}

static const unsigned char *entry_data(const struct journal_entry *e) { return (const unsigned char *)(e + 1); }

static void cut(struct disk_file *f, size_t size) {
    if (size < f->size)
        memset(f->data + size, 0, f->size - size);
    grow(f, size);
    f->size = size;
}

static void apply_whole(struct disk_file *f, const struct journal_entry *e) {
    if (e->kind == JOURNAL_TRUNCATE) {
        cut(f, (size_t)e->offset);
        return;
    }
    grow(f, (size_t)(e->offset + e->size));
    memcpy(f->data + e->offset, entry_data(e), (size_t)e->size);
}

static void sync_file(struct disk_file *f) {
    struct write *order[f->pending_count + 1];
    int n = 0;
    for (struct write *w = f->pending; w; w = w->before)
        order[n++] = w;
    while (n-- > 0) {
        apply_whole(f, order[n]->entry);
        free(order[n]);
    }
    f->pending = NULL;
    f->pending_count = 0;
}

static void forget_file(struct disk_file *f) {
    for (struct write *w = f->pending, *before; w; w = before) {
        before = w->before;
        free(w);
    }
    free(f->data);
    *f = (struct disk_file){0};
}

static void disk_take(struct disk_file *files, const struct journal_entry *e) {
    struct disk_file *f = &files[e->file];
    if (e->file == JOURNAL_FOLDER) {
        for (int i = 0; i < JOURNAL_FOLDER; i++)
            files[i].name_is_durable = files[i].exists;
        return;
    }
    if (e->kind == JOURNAL_REMOVE) {
        forget_file(f); /* it is only removed when all of it is in the database and synced: that it may come back is left out */
        return;
    }
    f->exists = true;
    if (e->kind == JOURNAL_SYNC) {
        sync_file(f);
        return;
    }
    struct write *w = xcalloc(1, sizeof *w);
    *w = (struct write){e, f->pending};
    f->pending = w;
    f->pending_count++;
}

/* ---- an image ---- */

static void apply_some_sectors(struct disk_file *image, const struct journal_entry *e, int percent, uint64_t *random) {
    for (int64_t at = e->offset; at < e->offset + e->size;) {
        int64_t next = (at / SECTOR + 1) * SECTOR, end = e->offset + e->size;
        next = next < end ? next : end;
        if ((int)(fault_random(random) % 100) < percent) {
            grow(image, (size_t)next);
            memcpy(image->data + at, entry_data(e) + (at - e->offset), (size_t)(next - at));
        }
        at = next;
    }
}

/* Pending writes are laid over each other in order, sectors of each with a probability of this image's own: so each sector shows any of its
 * versions. */
static void image_build(const struct disk_file *from, struct disk_file *image, uint64_t *random) {
    const int percents[] = {0, 10, 50, 90, 100};
    int percent = percents[fault_random(random) % 5], n = 0;
    const struct write *order[from->pending_count + 1];
    grow(image, from->size);
    if (from->size)
        memcpy(image->data, from->data, from->size);
    for (const struct write *w = from->pending; w; w = w->before)
        order[n++] = w;
    while (n-- > 0) {
        const struct journal_entry *e = order[n]->entry;
        if (e->kind == JOURNAL_WRITE)
            apply_some_sectors(image, e, percent, random);
        else if ((int)(fault_random(random) % 100) < percent)
            cut(image, (size_t)e->offset);
    }
}

static void image_write(const struct disk_file *from, const char *path, uint64_t *random) {
    struct disk_file image = {0};
    unlink(path);
    if (!from->exists || (!from->name_is_durable && fault_random(random) % 2))
        return;
    image_build(from, &image, random);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, image.data, image.size) != (ssize_t)image.size)
        fault_complain("%s can't be written", path);
    close(fd);
    free(image.data);
}

static int64_t first_mark(const struct claims *c) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < (size_t)c->submitters * c->capacity; i++)
        if (c->items[i].job && c->items[i].mark < first)
            first = c->items[i].mark;
    return first;
}

static void image_check(struct daemon *d, struct claims *c, struct disk_file *files, int64_t cut_at, bool start, uint64_t *random,
                        struct claims_found *found) {
    char log[120], index[120];
    int status;
    snprintf(log, sizeof log, "%s-wal", d->database);
    snprintf(index, sizeof index, "%s-shm", d->database);
    unlink(index);
    image_write(&files[JOURNAL_DATABASE], d->database, random);
    image_write(&files[JOURNAL_LOG], log, random);
    if (start || cut_at < first_mark(c)) { /* before the first acknowledgement there may be no schema yet: musterd makes it */
        daemon_start(d);
        if (daemon_wait_ready(d, 10000, &status) < 0)
            fault_complain("musterd does not start after a loss of power at entry %lld", (long long)cut_at);
        if (d->pid)
            daemon_kill(d, SIGKILL);
    }
    int before = fault_complaints();
    claims_compare(c, d->database, cut_at, true, found);
    if (fault_complaints() > before)
        printf("# the power failed at entry %lld\n", (long long)cut_at);
}

/* ---- the run that is recorded, and the walk along its journal ---- */

static void record_a_run(struct daemon *d, struct shim *shim, struct claims *c, const struct args *a) {
    struct submitting how = {.endpoint = d->endpoint,
                             .directory = d->work,
                             .window = 6,
                             .limit = (int)(a->jobs / c->submitters),
                             .retry = true,
                             .mark = (_Atomic int64_t *)&shim->control->recorded};
    pid_t pids[SUBMITTERS_MAX];
    int status;
    shim->control->record = 1;
    shim_load(shim, d);
    for (int start = 0; start < 2; start++) { /* the second start finds the log of the first: recovery is recorded too */
        daemon_start(d);
        if (daemon_wait_ready(d, 10000, &status) < 0)
            fault_complain("musterd does not start");
        how.limit = (int)(a->jobs / c->submitters) * (start + 1) / 2;
        for (int s = 0; s < c->submitters; s++)
            pids[s] = claims_submit(c, s, &how);
        for (int s = 0; s < c->submitters; s++)
            waitpid(pids[s], NULL, 0);
        clock_sleep_ms(300); /* time to move the log into the database */
        daemon_kill(d, start ? SIGTERM : SIGKILL);
    }
    shim_unload(d);
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void walk(struct daemon *d, struct claims *c, const unsigned char *journal, size_t size, const struct args *a, int64_t entries,
                 long *checked) {
    struct disk_file files[JOURNAL_FILES] = {0};
    struct claims_found found;
    uint64_t random = (uint64_t)a->seed;
    int64_t *cuts = xcalloc((size_t)a->images, sizeof *cuts), next = 0, entry = 0;
    for (int64_t i = 0; i < a->images; i++)
        cuts[i] = fault_between(&random, 1, entries);
    qsort(cuts, (size_t)a->images, sizeof *cuts, by_number);
    for (size_t at = 0; at + sizeof(struct journal_entry) <= size;) {
        const struct journal_entry *e = (const struct journal_entry *)(journal + at);
        disk_take(files, e);
        entry++;
        at += sizeof *e + (e->kind == JOURNAL_WRITE ? (size_t)e->size : 0);
        for (; next < a->images && cuts[next] == entry; next++) {
            image_check(d, c, files, entry, next % STARTED_OF == 0, &random, &found);
            *checked += found.acknowledged;
        }
    }
    for (int i = 0; i < JOURNAL_FILES; i++)
        forget_file(&files[i]);
    free(cuts);
}

int main(int argc, char **argv) {
    struct args a = {.images = 50, .jobs = 3000, .seed = (int64_t)getpid() * 7919 + clock_wall_ms()};
    struct daemon d;
    struct shim shim;
    struct error err;
    struct stat st;
    int operands;
    long checked = 0;
    if (options_parse(rows, argc, argv, 0, &a, &operands, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    daemon_init(&d, access("/dev/shm", W_OK) ? NULL : "/dev/shm");
    shim_open(&shim, &d);
    struct claims *c = claims_new("f4", 3, (int)a.jobs / 3 + 1);
    record_a_run(&d, &shim, c, &a);
    int64_t entries = shim.control->recorded;
    int fd = open(shim.control->journal, O_RDONLY);
    if (fd >= 0 && !fstat(fd, &st) && st.st_size > 0) {
        unsigned char *journal = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        walk(&d, c, journal, (size_t)st.st_size, &a, entries, &checked);
    } else {
        fault_complain("nothing was recorded");
    }
    if (fault_complaints())
        daemon_print_log(&d, 10);
    daemon_remove(&d);
    return fault_verdict("power_loss", checked > 0, (uint64_t)a.seed,
                         "%lld images along %lld entries, %ld acknowledged, looked for %ld times, none lost", (long long)a.images,
                         (long long)entries, claims_acknowledged(c), checked);
}
