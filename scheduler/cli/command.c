/* Finds the subcommand, parses its options, runs it, and turns its error into a sentence and an exit code. */
#include "scheduler/cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"

static const struct command *const commands[] = {
#define X(name) &name##_command,
    COMMANDS(X)
#undef X
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

static void print_overview(FILE *out) {
    fprintf(out, "muster: run jobs on the GPU cluster\n\nusage: muster COMMAND [OPTIONS] [ARGUMENTS]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out,
            "\n`muster help COMMAND` tells the rest.\n"
            "MUSTER_ENDPOINT says where musterd listens (without it: ipc:///run/muster/musterd.sock).\n"
            "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 denied, over quota or can never fit, 5 conflict, 6 musterd unreachable,\n"
            "7 timeout, 8 the scheduler can't store now. `run` and `wait` give the job's own code, 128 + its signal, 124 for a time\n"
            "limit, 125 if it was never launched.\n");
}

static void print_help(const struct command *c, FILE *out) {
    fprintf(out, "usage: muster %s %s\n\n%s.\n", c->name, c->usage, c->summary);
    if (c->details)
        fprintf(out, "\n%s\n", c->details);
    fputs("\noptions:\n", out);
    options_help(c->options, out);
}

static int unknown_command(const char *name) {
    const char *nearest = NULL;
    int best = 3;   /* more changes than this are another word */
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        int distance = text_distance(name, commands[i]->name);
        if (distance < best) {
            best = distance;
            nearest = commands[i]->name;
        }
    }
    fputs("muster: no such command: '", stderr);
    text_write_safe(stderr, name, strlen(name));
    if (nearest)
        fprintf(stderr, "'; did you mean 'muster %s'?\n", nearest);
    else
        fputs("'; `muster help` lists them\n", stderr);
    return error_exit_code(ERR_INVALID);
}

static int help_main(int argc, char **argv) {
    if (argc < 3 || argv[2][0] == '-') {
        print_overview(stdout);
        return 0;
    }
    const struct command *c = find_command(argv[2]);
    if (!c)
        return unknown_command(argv[2]);
    print_help(c, stdout);
    return 0;
}

static int check_operands(const struct command *c, int count, struct error *err) {
    if (count < c->least)
        return error_set(err, ERR_INVALID, "an argument is missing; usage: muster %s %s", c->name, c->usage);
    if (c->most >= 0 && count > c->most)
        return error_set(err, ERR_INVALID, "too many arguments; usage: muster %s %s", c->name, c->usage);
    return 0;
}

static int parse_and_run(const struct command *c, int argc, char **argv, void *arguments, struct error *err) {
    int operands = argc;
    if (c->defaults)
        memcpy(arguments, c->defaults, c->arguments_size);
    int rc = options_parse(c->options, argc, argv, c->permute, arguments, &operands, err);
    if (rc < 0)
        return rc;
    if (((struct common_arguments *)arguments)->help) {
        print_help(c, stdout);
        return 0;
    }
    rc = check_operands(c, argc - operands, err);
    return rc < 0 ? rc : c->run(arguments, argc - operands, argv + operands, err);
}

int command_main(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return error_exit_code(ERR_INVALID);
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return help_main(argc, argv);
    const struct command *c = !strcmp(argv[1], "--version") ? &version_command : find_command(argv[1]);
    if (!c)
        return unknown_command(argv[1]);

    struct error err = {0};
    void *arguments = xcalloc(1, c->arguments_size);
    int rc = parse_and_run(c, argc - 1, argv + 1, arguments, &err);
    free(arguments);
    if (rc >= 0 && (fflush(stdout) || ferror(stdout)))
        rc = error_set_errno(&err, ERR_IO, "writing to standard output");
    if (rc >= 0)
        return rc;
    fprintf(stderr, "muster %s: ", c->name);
    text_write_safe(stderr, err.text, strlen(err.text));
    fputc('\n', stderr);
    return error_exit_code(rc);
}
