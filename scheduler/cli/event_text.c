#include "scheduler/cli/event_text.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>

#include "common/states.h"
#include "common/text.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

struct line { char text[4096]; size_t used; const json_t *event; };

static int64_t number(const struct line *l, const char *key) { return row_int(l->event, key, 0); }
static const char *word(const struct line *l, const char *key) { return row_text(l->event, key); }

__attribute__((format(printf, 2, 3))) static void say(struct line *l, const char *format, ...) {
    char part[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(part, sizeof part, format, args);
    va_end(args);
    text_append(l->text, sizeof l->text, &l->used, "%s", part);
}

/* ---- parts ---- */

static void say_job(struct line *l) {
    say(l, "job %" PRId64, number(l, "job"));
    if (number(l, "attempt"))
        say(l, ".%" PRId64, number(l, "attempt"));
}

static void say_user(struct line *l) {
    struct passwd *pw = getpwuid((uid_t)number(l, "uid"));
    if (pw)
        say(l, " by %s", pw->pw_name);
    else
        say(l, " by user %" PRId64, number(l, "uid"));
}

/* What a person, a rule or a node said. */
static void say_text(struct line *l) {
    if (*word(l, "text"))
        say(l, ": %s", word(l, "text"));
}

static void say_count(struct line *l, const char *before, int64_t count, const char *thing) {
    if (count)
        say(l, "%s%" PRId64 " %s%s", before, count, thing, count == 1 ? "" : "s");
}

static void say_placement(struct line *l) {
    const json_t *tasks = json_object_get(json_object_get(l->event, "placement"), "tasks");
    size_t i;
    json_t *task;
    json_array_foreach(tasks, i, task) {
        char gpus[128];
        say(l, "%s%s", i ? ", " : " on ", row_text(task, "node"));
        if (row_has(task, "gpu_order"))
            say(l, " gpus %s", row_join(task, "gpu_order", ",", gpus, sizeof gpus));
        say(l, " (%" PRId64 " ranks)", row_int(task, "ranks", 0));
    }
}

/* ---- events ---- */

static void say_submitted(struct line *l) {
    const json_t *s = json_object_get(l->event, "submission");
    say_job(l);
    say(l, " in %s", *word(l, "queue") ? word(l, "queue") : "default");
    say_user(l);
    say(l, ": ");
    if (row_int(s, "gpus_min", 0) && row_int(s, "gpus_min", 0) < row_int(s, "gpus", 0))
        say(l, "%" PRId64 " to ", row_int(s, "gpus_min", 0));
    say(l, "%" PRId64 " GPUs", row_int(s, "gpus", 0));
    say_count(l, " on ", row_int(s, "nodes", 0), "node");
    say_count(l, ", ", row_int(s, "ranks", 0), "rank");
    if (row_int(s, "priority", 0))
        say(l, ", priority %" PRId64, row_int(s, "priority", 0));
    if (*row_text(s, "array"))
        say(l, ", array %s", row_text(s, "array"));
    if (row_bool(s, "hold"))
        say(l, ", held");
}

static void say_asked(struct line *l) {   /* cancelled, held, released, requeued */
    say_job(l);
    if (*word(l, "elements"))
        say(l, "[%s]", word(l, "elements"));
    say_user(l);
    say_text(l);
}

static void say_dependency(struct line *l) {
    say_job(l);
    say(l, ": job %" PRId64 " had ended %s", number(l, "other"), row_bool(l->event, "ok") ? "well" : "without success");
}

static void say_node_up(struct line *l) {
    const json_t *inventory = json_object_get(l->event, "inventory"), *gpus = json_object_get(inventory, "gpus");
    say(l, "%s: %zu GPUs", *word(l, "node") ? word(l, "node") : row_text(inventory, "name"), json_array_size(gpus));
    if (json_array_size(gpus))
        say(l, " (%s)", row_text(json_array_get(gpus, 0), "type"));
    say(l, ", %" PRId64 " cores", row_int(inventory, "cpus", 0));
    if (*row_text(inventory, "rack"))
        say(l, ", in %s", row_text(inventory, "rack"));
}

static void say_node(struct line *l) {
    say(l, "%s", word(l, "node"));
    say_text(l);
}

static void say_quota(struct line *l) {
    say(l, "%s", word(l, "queue"));
    say_user(l);
    if (strcmp(word(l, "name"), "QUOTA_SET"))
        return;
    say(l, ": guarantee %" PRId64, number(l, "guarantee"));
    if (number(l, "limit") >= 0)
        say(l, ", limit %" PRId64, number(l, "limit"));
    say(l, ", weight %" PRId64 "%s", number(l, "weight") ? number(l, "weight") : 1, row_bool(l->event, "drain") ? ", drained" : "");
}

static void say_task(struct line *l) {   /* started, refused */
    say_job(l);
    say(l, " on %s", word(l, "node"));
    say_text(l);
}

static void say_exited(struct line *l) {
    const char *kind = exit_kind_name((int)number(l, "kind"));
    say_job(l);
    say(l, " on %s: ", word(l, "node"));
    if (!strcmp(kind, "CODE") || !strcmp(kind, "SIGNAL"))
        say(l, "%s %" PRId64, !strcmp(kind, "CODE") ? "exit code" : "signal", number(l, "status"));
    else
        say(l, "%s", kind);
    if (row_int(l->event, "step", -1) >= 0 && !strcmp(kind, "YIELDED"))
        say(l, " at step %" PRId64, number(l, "step"));
    say_text(l);
}

static void say_checkpointed(struct line *l) {
    say_job(l);
    say(l, " at step %" PRId64, number(l, "step"));
}

static void say_placed(struct line *l) {   /* start, reserve */
    say_job(l);
    say_placement(l);
}

static void say_stop(struct line *l) {
    say_job(l);
    say(l, " %s", stop_cause_name((int)number(l, "cause")));
    if (number(l, "other"))
        say(l, " for job %" PRId64, number(l, "other"));
    say_text(l);
}

static void say_element(struct line *l) {
    say_job(l);
    say(l, " is %" PRId64 "[%" PRId64 "]", number(l, "other"), number(l, "element"));
}

static void say_any(struct line *l) {
    if (number(l, "job"))
        say_job(l);
    if (*word(l, "node"))
        say(l, " on %s", word(l, "node"));
    if (*word(l, "queue"))
        say(l, " %s", word(l, "queue"));
    say_text(l);
}

/* A name that is not here is of a newer scheduler: what every event has is said. */
static const struct { const char *name; bool decision; void (*say)(struct line *l); } known[] = {
    {"JOB_SUBMITTED", false, say_submitted}, {"JOB_CANCELLED", false, say_asked}, {"JOB_HELD", false, say_asked},
    {"JOB_RELEASED", false, say_asked}, {"JOB_REQUEUED", false, say_asked}, {"DEPENDENCY_ENDED", false, say_dependency},
    {"NODE_UP", false, say_node_up}, {"NODE_LOST", false, say_node}, {"NODE_EXPIRED", false, say_node}, {"NODE_DRAINED", false, say_node},
    {"NODE_RESUMED", false, say_node}, {"QUOTA_SET", false, say_quota}, {"QUOTA_DELETED", false, say_quota},
    {"TASK_STARTED", false, say_task}, {"TASK_EXITED", false, say_exited}, {"TASK_REFUSED", false, say_task},
    {"CHECKPOINTED", false, say_checkpointed}, {"JOB_START", true, say_placed}, {"JOB_STOP", true, say_stop}, {"JOB_KILL", true, say_any},
    {"JOB_FAIL", true, say_any}, {"RESERVE", true, say_placed}, {"UNRESERVE", true, say_any},
    {"JOB_ELEMENT", true, say_element},
};

void event_print(const json_t *event, FILE *out) {
    struct line l = {.event = event};
    const char *name = row_text(event, "name");
    char time[16], safe[sizeof l.text];
    size_t i = 0, count = sizeof known / sizeof *known;
    while (i < count && strcmp(known[i].name, name))
        i++;
    (i < count ? known[i].say : say_any)(&l);
    bool decision = i < count && known[i].decision;
    fprintf(out, "%s  %s%6" PRId64 "%s  %s%-16s  ", print_time_of_day(row_int(event, "wall_ms", 0), time, sizeof time),
            print_colour(out, COLOUR_DIM), row_int(event, "turn", 0), print_colour(out, COLOUR_PLAIN), decision ? "-> " : "   ",
            print_safe(name, safe, 64));
    fprintf(out, "%s\n", print_safe(l.text, safe, sizeof safe));
}
