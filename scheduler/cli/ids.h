/* The jobs that people name: "12", "12,14", "12-15", "12[7]". Each is a job_ref(). */
#ifndef SCHEDULER_CLI_IDS_H
#define SCHEDULER_CLI_IDS_H

#include "common/record.h"

enum { IDS_MAX = 4096 };

/* All operands, in their order, into `ids` (items in arena). ERR_INVALID names the operand. */
int ids_parse(int count, char **operands, struct ints *ids, struct arena *arena, struct error *err);
/* The same, with elements by the set: "12[5-9]" is job 12, and "5-9" in `elements` beside it; "": all of it. */
int ids_parse_sets(int count, char **operands, struct ints *ids, struct texts *elements, struct arena *arena, struct error *err);
/* Exactly one. */
int ids_parse_one(const char *operand, int64_t *job, struct error *err);

#endif
