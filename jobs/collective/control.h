/* The control group: how ranks find each other and exchange small things in host memory. MPI's, TCP's, or nothing where one process is all.
 * Used by collective.c only. */
#ifndef JOBS_COLLECTIVE_CONTROL_H
#define JOBS_COLLECTIVE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/collective/collective.h"

/* Was this process started by an MPI launcher? From the environment; MPI isn't touched. */
bool mpi_is_launched(void);

/* Torchrun's variables are there. */
bool tcp_is_possible(void);

/* As the calls of collective.h say. NULL: it isn't for that. */
struct control {
    int (*open)(int *rank, int *size, int timeout_s, struct error *err);   /* *size: as the launcher says; then as it is */
    void (*close)(void);
    void (*abort)(int exit_code);
    int (*sum)(double *values, int count, struct error *err);
    int (*max)(int64_t *values, int count, struct error *err);
    int (*broadcast)(void *bytes, size_t size, int root, struct error *err);
    int (*barrier)(struct error *err);
    int (*all_gather)(const void *bytes, size_t size, void *all, struct error *err);
    int (*all_to_all)(const float *out, const int64_t *sends, float *in, const int64_t *receives, struct error *err);
    int (*gather_slices)(float *values, const int64_t *slices, struct error *err);
    int (*round_begin)(const struct collective_message *messages, int count, int number, struct collective_round **round,
                       struct error *err);
    int (*round_end)(struct collective_round *round, bool wait, bool *done, struct error *err);
    int (*gather)(const void *bytes, size_t size, char **all, size_t **lengths, struct error *err);
    int (*send)(int to, const void *bytes, size_t size, struct error *err);
    int (*receive)(bool wait, int *from, void **bytes, size_t *size, struct error *err);
};
extern const struct control mpi_control;   /* over MPI */
extern const struct control tcp_control;   /* by torchrun's variables; no rounds, gather, send and receive */

extern const struct collective_way mpi_way;     /* state NULL */
extern const struct collective_way local_way;   /* state NULL */

#endif
