/* muster version: of this program, and of the daemon where one answers. */
#include "common/version.h"

#include <inttypes.h>

#include "scheduler/cli/client.h"
#include "scheduler/cli/command.h"
#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

static const struct option_row rows[] = {JSON_ROW, HELP_ROW, {0}};

static void print_cluster(const json_t *document, FILE *out) {
    char name[128];
    fprintf(out, "musterd %s (epoch %" PRId64 ", turn %" PRId64 ", store %s)\n", row_text(document, "version"),
            row_int(document, "epoch", 0), row_int(document, "turn", 0), row_text(document, "store"));
    fprintf(out,
            "%" PRId64 " of %" PRId64 " nodes up, %" PRId64 " of %" PRId64 " GPUs used, %" PRId64 " jobs running, %" PRId64 " pending\n",
            row_int(document, "nodes_up", 0), row_int(document, "nodes_total", 0), row_int(document, "gpus_used", 0),
            row_int(document, "gpus_total", 0), row_int(document, "jobs_running", 0), row_int(document, "jobs_pending", 0));
    fprintf(out, "you are %s%s\n", print_safe(row_text(document, "user"), name, sizeof name),
            row_bool(document, "admin") ? ", an admin" : "");
}

/* No daemon is no failure here: the question was for a version, and this program has one. */
static int run(const void *arguments, int count, char **operands, struct error *err) {
    const struct common_arguments *a = arguments;
    struct client client;
    struct view view = client_view_of("cluster");
    json_t *cluster = NULL;
    int rc = client_open(&client, err);
    if (rc == 0)
        rc = client_view(&client, &view, &cluster, NULL, err);
    if (a->json) {
        json_t *document =
            json_pack("{s:s, s:i, s:o?}", "version", muster_version, "protocol", PROTOCOL_VERSION, "cluster", json_incref(cluster));
        print_json(document, stdout);
        json_decref(document);
    } else {
        printf("muster %s (protocol %d)\n", muster_version, PROTOCOL_VERSION);
        if (rc == 0)
            print_cluster(cluster, stdout);
        else
            fprintf(stderr, "musterd: %s\n", err->text);
    }
    json_decref(cluster);
    client_close(&client);
    return 0;
}

const struct command version_command = {
    .name = "version",
    .usage = "[--json]",
    .summary = "Print the version of this program and of the scheduler, and who you are to it",
    .options = rows,
    .arguments_size = sizeof(struct common_arguments),
    .permute = true,
    .run = run,
};
