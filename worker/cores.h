/* Cores as lists, "0-15,32-47", as the kernel writes them: those of the sockets that a task's GPUs hang on. */
#ifndef WORKER_CORES_H
#define WORKER_CORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CORES_LIST_MAX = 512, SOCKETS_MAX = 16 };

struct socket_cores { int64_t numa, count; char list[CORES_LIST_MAX]; };
struct host_cores { int count; struct socket_cores sockets[SOCKETS_MAX]; };

/* The cores of all of these NUMA nodes. False, and "": one of them isn't known, or together they have fewer than `needed`. */
bool cores_of(const struct host_cores *host, const int64_t *numa, size_t count, int64_t needed, char list[CORES_LIST_MAX]);

/* Binds the caller, and who it will start, to a list. False: it is none, or the kernel said no; then nothing has changed. */
bool cores_bind(const char *list);

#endif
