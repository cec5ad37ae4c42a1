/* Everything that depends on Open MPI: the names of its parameters, its host file, its command line. Open MPI 5 renamed them; the table
 * in mpi.c is the one place to say so. */
#ifndef WORKER_MPI_H
#define WORKER_MPI_H

#include "worker/environment.h"

/* MPI calls nodes by names of ours, "muster-0", "muster-1": they need not resolve, and none is ever taken for the local host, so each
 * node's orted comes by the same way, with the environment of its own node. */
int mpi_host_index(const char *host);   /* -1: not one of ours */

/* Where MPI may talk: the network of the address, as "10.1.0.0/16"; 127.0.0.0/8 for loopback. */
void mpi_interface_of(const char *address, char *out, size_t size);

/* Does this task need a host file and shared memory of its own? */
bool mpi_is_likely(const struct start *order);

/* Makes plain `mpirun` in the task run over the allocation. program: this binary. */
void mpi_environment(struct environment *e, const struct start *order, const char *program, const char *interface, const char *hostfile,
                     const char *shm, bool oversubscribed);
/* The same for a task that is not likely to call it, without a file made for that: `folder` is the task's own, for shared memory. */
void mpi_environment_of_unlikely(struct environment *e, const struct start *order, const char *folder);
/* The environment of an orted, beside the task's: shared memory of its own node. */
void mpi_environment_of_orted(struct environment *e, const char *shm);

void mpi_hostfile(const struct start *order, struct buffer *out);

/* `mpirun ... PROGRAM rank -- COMMAND`; into argv (at least MPI_ARGV_MAX), returns how many. */
enum { MPI_ARGV_MAX = 24 };
size_t mpi_command(const struct start *order, const char *program, struct arena *arena, const char **argv);

#endif
