/* muster report: the job contract for shell scripts. Speaks to the node's worker over MUSTER_SOCKET; needs no scheduler. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

enum { LINE_MAX_BYTES = 64 * 1024, UNSET = -1 };

struct arguments {
    struct common_arguments common;
    int64_t step, total, eta_ms, checkpointed, id, yielding, timeout_ms;
    const char *loss, *text;
    struct option_list values;
    bool wait_checkpoint;
};

static const struct option_row rows[] = {
    {"step", 's', OPTION_INT, offsetof(struct arguments, step), "N", "progress: steps done"},
    {"total", 't', OPTION_INT, offsetof(struct arguments, total), "N", "of so many", 1, INT64_MAX},
    {"loss", 'l', OPTION_TEXT, offsetof(struct arguments, loss), "X", "the loss now"},
    {"eta", 0, OPTION_DURATION, offsetof(struct arguments, eta_ms), "TIME", "time still needed"},
    {"text", 0, OPTION_TEXT, offsetof(struct arguments, text), "TEXT", "a short line for people"},
    {"value", 'v', OPTION_LIST, offsetof(struct arguments, values), "NAME=X", "a further number; may be repeated"},
    {"checkpointed", 'c', OPTION_INT, offsetof(struct arguments, checkpointed), "STEP", "the state up to STEP is safe on disk"},
    {"id", 0, OPTION_INT, offsetof(struct arguments, id), "N", "with --checkpointed: the request that it answers"},
    {"yielding", 'y', OPTION_INT, offsetof(struct arguments, yielding), "STEP", "about to exit with 0 because a checkpoint was asked for"},
    {"wait-checkpoint", 'w', OPTION_FLAG, offsetof(struct arguments, wait_checkpoint), NULL,
     "block until a checkpoint is asked for, and print the request's number"},
    {"timeout", 0, OPTION_DURATION, offsetof(struct arguments, timeout_ms), "TIME", "with --wait-checkpoint: exit with 7 after this long"},
    {"json", 0, OPTION_FLAG, offsetof(struct common_arguments, json), NULL, "print what was sent, and the request that was waited for"},
    HELP_ROW,
    {0}};

static int open_socket(int *fd, struct error *err) {
    const char *path = getenv("MUSTER_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !*path)
        return error_set(err, ERR_INVALID, "MUSTER_SOCKET is not set: this works inside a job");
    if (!text_copy(address.sun_path, sizeof address.sun_path, path))
        return error_set(err, ERR_INVALID, "MUSTER_SOCKET is longer than %zu bytes", sizeof address.sun_path - 1);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return error_set_errno(err, ERR_IO, "making a socket");
    if (connect(*fd, (struct sockaddr *)&address, sizeof address) == 0)
        return 0;
    int rc = error_set_errno(err, ERR_UNREACHABLE, "MUSTER_SOCKET %s", path);
    close(*fd);
    return rc;
}

static int parse_number(const char *what, const char *text, json_t **number, struct error *err) {
    char *end;
    double value = strtod(text, &end);
    *number = *text && !*end ? json_real(value) : NULL;   /* NULL for NaN and infinity too: JSON has neither */
    return *number ? 0 : error_set(err, ERR_INVALID, "%s: expected a number, got '%.64s'", what, text);
}

static int add_values(const struct option_list *values, json_t *line, struct error *err) {
    for (size_t i = 0; i < values->count; i++) {
        const char *equals = strchr(values->items[i], '=');
        char name[65];
        json_t *number;
        if (!equals || equals == values->items[i] || (size_t)(equals - values->items[i]) >= sizeof name)
            return error_set(err, ERR_INVALID, "--value: expected NAME=NUMBER, got '%.64s'", values->items[i]);
        snprintf(name, sizeof name, "%.*s", (int)(equals - values->items[i]), values->items[i]);
        if (parse_number(name, equals + 1, &number, err) < 0)
            return error_wrap(err, "--value");
        json_object_set_new(line, name, number);
    }
    return 0;
}

static int make_progress(const struct arguments *a, json_t **line, struct error *err) {
    *line = json_pack("{s:s, s:I}", "type", "progress", "step", (json_int_t)a->step);
    if (a->total != UNSET)
        json_object_set_new(*line, "total", json_integer(a->total));
    if (a->eta_ms != UNSET)
        json_object_set_new(*line, "eta_s", json_integer(a->eta_ms / 1000));
    if (a->text)
        json_object_set_new(*line, "text", json_string(a->text));
    json_t *loss = NULL;
    if (a->loss && parse_number("--loss", a->loss, &loss, err) < 0)
        return ERR_INVALID;
    if (loss)
        json_object_set_new(*line, "loss", loss);
    return add_values(&a->values, *line, err);
}

static int send_line(int fd, const json_t *line, struct error *err) {
    char *text = json_dumps(line, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0;
    int rc = 0;
    if (!length || length + 1 > LINE_MAX_BYTES)
        rc = error_set(err, ERR_INVALID, "the report is no UTF-8, or longer than %d KiB", LINE_MAX_BYTES / 1024);
    else
        text[length++] = '\n';
    for (size_t sent = 0; rc == 0 && sent < length;) {
        ssize_t n = send(fd, text + sent, length - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EINTR)
            rc = error_set_errno(err, ERR_IO, "writing to MUSTER_SOCKET");
    }
    free(text);
    return rc;
}

static int send_step(int fd, const char *type, int64_t step, int64_t id, json_t *sent, struct error *err) {
    json_t *line = json_pack("{s:s, s:I}", "type", type, "step", (json_int_t)step);
    if (id != UNSET)
        json_object_set_new(line, "id", json_integer(id));
    int rc = send_line(fd, line, err);
    json_array_append_new(sent, line);
    return rc;
}

/* sent: an array that gets the lines. */
static int send_reports(int fd, const struct arguments *a, json_t *sent, struct error *err) {
    int rc = 0;
    if (a->step != UNSET) {
        json_t *line = NULL;
        if ((rc = make_progress(a, &line, err)) == 0)
            rc = send_line(fd, line, err);
        json_array_append_new(sent, line);
    }
    if (rc == 0 && a->checkpointed != UNSET)
        rc = send_step(fd, "checkpointed", a->checkpointed, a->id, sent, err);
    if (rc == 0 && a->yielding != UNSET)
        rc = send_step(fd, "yielding", a->yielding, UNSET, sent, err);
    return rc;
}

/* Gives the number of the request if the line is one. */
static bool is_checkpoint(const char *line, int64_t *request) {
    json_t *message = json_loads(line, 0, NULL);
    bool found = !strcmp(row_text(message, "type"), "checkpoint");
    if (found)
        *request = row_int(message, "id", 0);
    json_decref(message);
    return found;
}

static int await_checkpoint(int fd, int64_t timeout_ms, int64_t *request, struct error *err) {
    static char text[LINE_MAX_BYTES + 1];
    size_t used = 0;
    int64_t deadline_ms = timeout_ms == UNSET ? INT64_MAX : clock_boot_ms() + timeout_ms;
    for (;;) {
        int64_t left_ms = deadline_ms - clock_boot_ms();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (left_ms <= 0)
            return error_set(err, ERR_TIMEOUT, "no checkpoint was asked for");
        if (poll(&ready, 1, left_ms > 60000 ? 60000 : (int)left_ms) <= 0)
            continue;
        ssize_t n = read(fd, text + used, LINE_MAX_BYTES - used);
        if (n <= 0)
            return error_set(err, ERR_UNREACHABLE, "the worker closed MUSTER_SOCKET");
        used += (size_t)n;
        text[used] = '\0';
        for (char *end; (end = strchr(text, '\n'));) {
            *end++ = '\0';
            if (is_checkpoint(text, request))
                return 0;
            used -= (size_t)(end - text);
            memmove(text, end, used + 1);
        }
        if (used == LINE_MAX_BYTES)
            return error_set(err, ERR_PROTOCOL, "the worker sent a line of more than %d KiB", LINE_MAX_BYTES / 1024);
    }
}

/* The worker answers nothing: what is acknowledged is that it has the lines. request: UNSET where none was waited for. */
static void print_acknowledgement(json_t *sent, int64_t request) {
    json_t *document = json_pack("{s:O, s:o}", "sent", sent, "request", request == UNSET ? json_null() : json_integer(request));
    print_json(document, stdout);
    json_decref(document);
}

static int report(int fd, const struct arguments *a, struct error *err) {
    json_t *sent = json_array();
    int64_t request = UNSET;
    int rc = send_reports(fd, a, sent, err);
    if (rc == 0 && a->wait_checkpoint)
        rc = await_checkpoint(fd, a->timeout_ms, &request, err);
    if (rc == 0 && a->common.json)
        print_acknowledgement(sent, request);
    else if (rc == 0 && a->wait_checkpoint)
        printf("%" PRId64 "\n", request);
    json_decref(sent);
    return rc;
}

static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct arguments *a = arguments;
    int fd = -1;
    if (a->step == UNSET && a->checkpointed == UNSET && a->yielding == UNSET && !a->wait_checkpoint)
        return error_set(err, ERR_INVALID, "nothing to report: give --step, --checkpointed, --yielding or --wait-checkpoint");
    if (a->step == UNSET && (a->total != UNSET || a->loss || a->eta_ms != UNSET || a->text || a->values.count))
        return error_set(err, ERR_INVALID, "progress needs --step");
    int rc = open_socket(&fd, err);
    if (rc < 0)
        return rc;
    rc = report(fd, a, err);
    close(fd);
    return rc;
}

static const struct arguments defaults = {
    .step = UNSET, .total = UNSET, .eta_ms = UNSET, .checkpointed = UNSET, .id = UNSET, .yielding = UNSET, .timeout_ms = UNSET};
const struct command report_command = {
    .name = "report",
    .usage = "--step N [--total N] [--loss X] | --checkpointed STEP [--id N] | --yielding STEP | --wait-checkpoint",
    .summary = "Inside a job: report progress and checkpoints, or wait for the request to checkpoint",
    .details = "A script that can resume:\n"
               "    muster report --wait-checkpoint > request && kill -USR1 $work &   # tell the work to save and stop\n"
               "    ...; muster report --checkpointed 120 --id $(cat request) --yielding 120; exit 0\n"
               "With --json: {sent: [the lines as they were sent], request: the number waited for, or null}.",
    .options = rows,
    .arguments_size = sizeof(struct arguments),
    .defaults = &defaults,
    .run = run,
};
