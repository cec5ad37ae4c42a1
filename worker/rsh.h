/* `muster-worker rsh HOST COMMAND...`: what mpirun takes for ssh. */
#ifndef WORKER_RSH_H
#define WORKER_RSH_H

#include <stddef.h>

int rsh_main(int argc, char **argv);   /* argv after "rsh" */

/* Splits text as a shell would, for quotes and backslashes only. Returns the words, NULL-terminated, to be freed with rsh_free_words;
 * NULL: it holds what only a shell understands. */
char **rsh_split(const char *text, size_t *count);
void rsh_free_words(char **words);

#endif
