/* muster-sim replay: applies an exported event log, as it was applied when it was written, and compares the digest with the one that the
 * daemon computed of its own memory. The decisions in the log are applied like the facts; with --redecide the policy of this program is
 * asked at each turn what it would decide.
 *
 * Exit codes: 0 the same; 1 another state, or (--redecide) other decisions; 2 the file is no whole event log; 3 there is no such file. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/options.h"
#include "scheduler/sim/replay_log.h"
#include "scheduler/sim/sim.h"

struct args { bool redecide, json, help; int64_t show; };
static const struct option_row rows[] = {
    {"redecide", 'r', OPTION_FLAG, offsetof(struct args, redecide), NULL, "ask today's policy at each turn and compare with the log"},
    {"show", 'n', OPTION_INT, offsetof(struct args, show), "N", "print so many differences (default 10)", 0, 1000000},
    {"json", 0, OPTION_FLAG, offsetof(struct args, json), NULL, "print one JSON document with schema_version"},
    {"help", 'h', OPTION_FLAG, offsetof(struct args, help), NULL, "this text"},
    {0}};

/* ---- what is printed ---- */

static void print_list(const char *label, const json_t *texts) {
    for (size_t i = 0; i < json_array_size(texts); i++)
        printf("  %-7s %s\n", i ? "" : label, json_string_value(json_array_get(texts, i)));
    if (!json_array_size(texts))
        printf("  %-7s nothing\n", label);
}

static void print_redecide(const struct redecide *re) {
    printf("%lld of %lld times the policy decides the same today\n", (long long)re->same, (long long)re->asked);
    for (size_t i = 0; i < json_array_size(re->differences); i++) {
        const json_t *d = json_array_get(re->differences, i);
        printf("turn %lld at %.3f s\n", (long long)json_integer_value(json_object_get(d, "turn")),
               (double)json_integer_value(json_object_get(d, "now_ms")) / 1000);
        print_list("logged", json_object_get(d, "logged"));
        print_list("now", json_object_get(d, "now"));
    }
    if (re->asked - re->same > (int64_t)json_array_size(re->differences))
        printf("and %lld more\n", (long long)(re->asked - re->same) - (long long)json_array_size(re->differences));
}

static void print_text(const struct replay_log *r, int rc) {
    char digest[DIGEST_TEXT_MAX + 1];
    if (r->breaks)
        printf("after turn %lld the log goes on from what was stored then (%s): the turns before lead elsewhere\n",
               (long long)r->break_turn, r->break_reason);
    printf("%lld turns (%lld to %lld), %lld events, digest %s\n", (long long)r->turns, (long long)r->first_turn, (long long)r->c.turn,
           (long long)r->events, digest_text(cluster_digest(&r->c), digest));
    if (!rc)
        printf("the same as the scheduler's own at turn %lld\n", (long long)r->c.turn);
    if (r->redecides)
        print_redecide(&r->re);
}

static void print_json(const struct replay_log *r, int rc, const struct error *err, int64_t line) {
    char digest[DIGEST_TEXT_MAX + 1];
    json_t *o = json_pack("{s:i, s:b, s:I, s:I, s:I, s:I, s:s, s:I, s:s}", "schema_version", 1, "same", !rc, "first_turn",
                          (json_int_t)r->first_turn, "last_turn", (json_int_t)r->c.turn, "turns", (json_int_t)r->turns, "events",
                          (json_int_t)r->events, "digest", digest_text(cluster_digest(&r->c), digest), "breaks", (json_int_t)r->breaks,
                          "musterd", r->musterd);
    json_object_set_new(o, "error", rc ? json_pack("{s:I, s:s}", "line", (json_int_t)line, "text", err->text) : json_null());
    json_object_set_new(o, "redecide", !r->redecides ? json_null()
                        : json_pack("{s:I, s:I, s:O}", "asked", (json_int_t)r->re.asked, "same", (json_int_t)r->re.same, "differences",
                                    r->re.differences));
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
}

static int report(const struct replay_log *r, bool as_json, const char *path, int rc, const struct error *err) {
    bool differs = r->re.same < r->re.asked, bad_file = rc && rc != ERR_FAILED;
    if (rc)
        fprintf(stderr, "%s:%lld: %s\n", path, (long long)r->in.line, err->text);
    if (as_json)
        print_json(r, rc, err, r->in.line);
    else if (!bad_file)
        print_text(r, rc);
    return fflush(stdout) || ferror(stdout) ? 1 : bad_file ? 2 : rc || differs;
}

static int replay_path(const char *path, const struct args *args) {
    struct replay_log r;
    struct error err;
    FILE *f = strcmp(path, "-") ? fopen(path, "r") : stdin;
    if (!f) {
        int exit_code = errno == ENOENT ? 3 : 1;
        fprintf(stderr, "muster-sim replay: %s: %s\n", path, strerror(errno));
        return exit_code;
    }
    replay_log_init(&r, f, args->redecide, args->show);
    int rc = replay_log_run(&r, &err), exit_code = report(&r, args->json, path, rc, &err);
    if (f != stdin)
        fclose(f);
    replay_log_release(&r);
    return exit_code;
}

int sim_replay(int argc, char **argv) {
    struct args a = {.show = 10};
    struct error err = {0};
    int operands;
    bool wrong = options_parse(rows, argc, argv, 1, &a, &operands, &err) || (!a.help && argc - operands != 1);
    if (wrong)
        fprintf(stderr, "muster-sim replay: %s\n", err.code ? err.text : argc == operands ? "which FILE?" : "one FILE at a time");
    if (wrong || a.help) {
        fprintf(wrong ? stderr : stdout, "usage: muster-sim replay [options] FILE (-: standard input)\n");
        options_help(rows, wrong ? stderr : stdout);
        return wrong ? 2 : 0;
    }
    return replay_path(argv[operands], &a);
}
