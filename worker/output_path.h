/* Slurm's % patterns in the paths of a job's output. */
#ifndef WORKER_OUTPUT_PATH_H
#define WORKER_OUTPUT_PATH_H

#include <limits.h>

#include "common/message.h"

/* %j job, %A job (of an array: its id), %a element, %J job.attempt, %x name, %u user, %N node, %n node rank, %t rank (of the node's
 * file: 0), %%. A number between % and the letter pads with zeros (%4j). Relative paths are below the job's directory; "" is
 * muster-%j.out. */
void output_path_expand(const struct start *order, const char *node, int rank, const char *pattern, char out[PATH_MAX]);

#endif
