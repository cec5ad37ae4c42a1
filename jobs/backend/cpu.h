/* The kernels as a backend: memory is the host's, operations are done when they return, and nothing fails. */
#ifndef JOBS_BACKEND_CPU_H
#define JOBS_BACKEND_CPU_H

#include "jobs/backend/backend.h"

extern const struct backend_operations cpu_operations;

#endif
