/* The job's end of MUSTER_SOCKET, for our own two programs that run inside jobs: the rank wrapper and mpirun's shim. */
#ifndef WORKER_TASK_SOCKET_H
#define WORKER_TASK_SOCKET_H

#include <jansson.h>

/* Connects, trying again for wait_ms: the agent may be being restarted. -1: no MUSTER_SOCKET, or nobody answers. */
int task_socket_connect(int wait_ms);
int task_socket_send(int fd, json_t *message);   /* takes message; -1: broken */
/* Reads one line (at most size - 1 bytes, NUL-terminated, without the newline). *received_fd: a descriptor that came along, or -1.
 * Returns 1, 0 on timeout (timeout_ms -1: none), -1 when the other end is gone. */
int task_socket_read_line(int fd, char *line, size_t size, int *received_fd, int timeout_ms);

#endif
