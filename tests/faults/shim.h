/* The test's side of fault_io.h: makes the shared file, and the environment of a musterd that the shim is loaded into. */
#ifndef TESTS_FAULTS_SHIM_H
#define TESTS_FAULTS_SHIM_H

#include <stddef.h>

#include "tests/faults/daemon.h"
#include "tests/faults/fault_io.h"

struct shim {
    struct fault_control *control;
    char preload[600], variable[160];
};

/* Exits with 77 and a line where the shim is not built, or where the programs can't be preloaded (sanitizers). */
void shim_open(struct shim *s, const struct daemon *d);
void shim_load(const struct shim *s, struct daemon *d); /* from the next start on */
static inline void shim_unload(struct daemon *d) { d->environment[0] = NULL; }
void shim_close(struct shim *s);

#endif
