/* See shim.h. The shim's file lies beside the test program that is run. */
#include "tests/faults/shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void shim_open(struct shim *s, const struct daemon *d) {
    char self[512] = "", path[100];
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        abort();
    *strrchr(self, '/') = '\0';
    snprintf(s->preload, sizeof s->preload, "LD_PRELOAD=%s/fault_io.so", self);
    if (access(strchr(s->preload, '/'), R_OK)) {
        printf("skipped: %s is not built\n", strchr(s->preload, '/'));
        exit(77);
    }
    snprintf(path, sizeof path, "%s/fault_io", d->base);
    snprintf(s->variable, sizeof s->variable, FAULT_IO_VARIABLE "=%s", path);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, sizeof *s->control))
        abort();
    s->control = mmap(NULL, sizeof *s->control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (s->control == MAP_FAILED)
        abort();
    snprintf(s->control->folder, sizeof s->control->folder, "%s", d->state);
    snprintf(s->control->journal, sizeof s->control->journal, "%s/journal", d->base);
}

void shim_load(const struct shim *s, struct daemon *d) {
    d->environment[0] = s->preload;
    d->environment[1] = s->variable;
    d->environment[2] = NULL;
}

void shim_close(struct shim *s) { munmap(s->control, sizeof *s->control); }
