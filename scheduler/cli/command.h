/* The command line's surface: every subcommand is one row of the table in command.c, and the row is its parser, its help and its entry.
 *
 * To add a subcommand: 1. a file that defines `const struct command x_command`; 2. its name in COMMANDS below. Nothing else knows of it.
 */
#ifndef SCHEDULER_CLI_COMMAND_H
#define SCHEDULER_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/options.h"

/* Every subcommand's arguments begin with these. */
struct common_arguments {
    bool help;
    bool json;
};
#define HELP_ROW {"help", 'h', OPTION_FLAG, offsetof(struct common_arguments, help), NULL, "show this help"}
#define JSON_ROW {"json", 0, OPTION_FLAG, offsetof(struct common_arguments, json), NULL, "print one JSON document with schema_version"}

struct command {
    const char *name;
    const char *usage;     /* what follows the name: "[OPTIONS] ID..." */
    const char *summary;   /* one line, for the list of commands */
    const char *details;   /* paragraphs of its help, or NULL */
    const struct option_row *options;
    size_t arguments_size;
    const void *defaults;  /* arguments_size bytes, or NULL: all zero */
    bool permute;          /* options may stand after operands */
    int least, most;       /* operands; most -1: any number */
    /* operands[0..count); operands[-1] is "--" when the user wrote one before them. Returns the exit code of the program, or a negative
     * error_code with err filled. */
    int (*run)(const void *arguments, int count, char **operands, struct error *err);
};

/* In the order of the help. */
#define COMMANDS(X)                                                                     \
    X(submit) X(run) X(jobs) X(show) X(why) X(logs) X(wait)                             \
    X(cancel) X(hold) X(release) X(requeue)                                             \
    X(nodes) X(drain) X(resume) X(top) X(quota) X(events) X(report) X(version)

#define X(name) extern const struct command name##_command;
COMMANDS(X)
#undef X

/* The whole program but main(): finds the subcommand, parses, runs, prints the error. Returns the exit code. */
int command_main(int argc, char **argv);

#endif
