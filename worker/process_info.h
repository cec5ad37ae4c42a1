/* What /proc says of one process of a task. */
#ifndef WORKER_PROCESS_INFO_H
#define WORKER_PROCESS_INFO_H

#include <stdbool.h>
#include <sys/types.h>

/* It only starts others: mpirun, orted, our rank wrapper. Signals meant for a job's programs pass them by. */
bool process_is_launcher(pid_t pid);
/* It has a handler for the signal. Without one SIGUSR1 would end a program that never asked for it. */
bool process_catches(pid_t pid, int signal_number);

#endif
