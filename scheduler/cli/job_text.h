/* Job rows as text: the columns that several subcommands show, and what a finished job makes `run` and `wait` exit with. */
#ifndef SCHEDULER_CLI_JOB_TEXT_H
#define SCHEDULER_CLI_JOB_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

enum { JOB_EXIT_TIME_LIMIT = 124, JOB_EXIT_NOT_LAUNCHED = 125, JOB_EXIT_SIGNAL = 128 };

/* "12", of an element "12[7]". Returns buffer. */
const char *job_id_text(const json_t *job, char *buffer, size_t size);
/* "12,48[1]": of each in the list. */
const char *job_ids_text(const json_t *jobs, const char *separator, char *buffer, size_t size);
bool job_is_ref(const json_t *job, int64_t ref);   /* whether it is the one that is named so */
const char *job_state_text(const json_t *job);
bool job_is_over(const json_t *job);

/* "[####....] 120/1000 loss 2.31 eta 1m35s"; "" without progress. cells: of the bar, 0 for none. Returns buffer. */
const char *job_progress_text(const json_t *job, int cells, char *buffer, size_t size);
/* How long it has run, or ran; "" if it never started. Returns buffer. */
const char *job_run_time_text(const json_t *job, int64_t now_ms, char *buffer, size_t size);
/* Why it waits, or why it ended. Returns buffer. */
const char *job_reason_text(const json_t *job, char *buffer, size_t size);

/* The job's own code, 128 + its signal, 124 time limit, 125 never launched, 143 cancelled while it ran. */
int job_exit_code(const json_t *job);
/* "job 12 (train) COMPLETED after 3m20s", made safe, on stderr-like `out`. */
void job_print_end(const json_t *job, FILE *out);

/* "  because ...", who is in the way, when it is expected to start, what can be done: of the whole reason that `why` gets. */
void job_print_reason(const json_t *reason, FILE *out);
/* "about 14:20, if job 3 ends by its time limit"; "unknown: job 3 has no time limit". Nothing where nobody says. */
void job_print_expected(const json_t *from, FILE *out);
/* Its evictions: how often, and what each one cost, with its rule and plan. */
void job_print_past(const json_t *job, FILE *out);
/* "  asked for   4 GPUs on 2 nodes, ..." from the member "requested" of a job's row; held: GPUs that an elastic one has now, 0: none. */
void job_print_request(const json_t *asked, int64_t held, FILE *out);

/* The table of `muster jobs`. */
void jobs_print(const json_t *document, int64_t now_ms, FILE *out);

#endif
