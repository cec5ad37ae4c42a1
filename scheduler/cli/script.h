/* A job script: a text that begins with #! or has #MUSTER lines. It is kept with the job as it is now, and its leading #MUSTER lines
 * hold options of submit. */
#ifndef SCHEDULER_CLI_SCRIPT_H
#define SCHEDULER_CLI_SCRIPT_H

#include "common/job_spec.h"
#include "scheduler/cli/job_flags.h"

enum { SCRIPT_LATE_MAX = 4 };

/* What the lines of a script say. */
struct script {
    struct job_flags flags;             /* of the #MUSTER lines */
    int lines[JOB_FLAGS_MAX];           /* by row of the option table: the line that set it last, 0 for none */
    int directives;                     /* how many #MUSTER lines were read */
    int late[SCRIPT_LATE_MAX];          /* #MUSTER lines after the first command, which say nothing */
    int late_count;
};

/* Reads the file into spec->script (bytes in arena) and *script; "-" is standard input. Warns on stderr of #MUSTER lines that come too
 * late. Errors name the file, and the line where one is to blame. */
int script_read(const char *path, struct job_spec *spec, struct script *script, struct arena *arena, struct error *err);

/* The same of bytes that are there already, without a word. path: for errors. */
int script_parse(const char *path, const struct bytes *text, struct script *script, struct arena *arena, struct error *err);

/* For an error of the whole job, "member: what is wrong": puts FILE:line before it where that line of the script set the member and `flags`
 * of the command line did not, FILE otherwise. */
int script_place_error(const char *path, const struct script *script, const struct job_flags *flags, struct error *err);

/* Whether there is a regular file of this name that script_parse would take. */
bool script_is_one(const char *path);

#endif
