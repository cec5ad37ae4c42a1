/* The control group: how ranks find each other and exchange small things in host memory. MPI's, or nothing where one process is all.
 * Used by collective.c only. */
#ifndef JOBS_COLLECTIVE_CONTROL_H
#define JOBS_COLLECTIVE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jobs/collective/collective.h"

/* Was this process started by an MPI launcher? From the environment; MPI isn't touched. */
bool mpi_is_launched(void);

int mpi_open(int *rank, int *size, int timeout_s, struct error *err);
void mpi_close(void);
void mpi_abort(int exit_code);
int mpi_sum(double *values, int count, struct error *err);
int mpi_max(int64_t *values, int count, struct error *err);
int mpi_broadcast(void *bytes, size_t size, int root, struct error *err);
int mpi_barrier(struct error *err);
int mpi_all_gather(const void *bytes, size_t size, void *all, struct error *err);
int mpi_all_to_all(const float *out, const int64_t *sends, float *in, const int64_t *receives, struct error *err);
int mpi_gather_slices(float *values, const int64_t *slices, struct error *err);
int mpi_round_begin(const struct collective_message *messages, int count, int number, struct collective_round **round, struct error *err);
int mpi_round_end(struct collective_round *round, bool wait, bool *done, struct error *err);
int mpi_gather(const void *bytes, size_t size, char **all, size_t **lengths, struct error *err);
int mpi_send(int to, const void *bytes, size_t size, struct error *err);
int mpi_receive(bool wait, int *from, void **bytes, size_t *size, struct error *err);

extern const struct collective_way mpi_way;     /* state NULL */
extern const struct collective_way local_way;   /* state NULL */

#endif
