#include "scheduler/cli/named.h"

#include "common/clock.h"
#include "scheduler/cli/client.h"
#include "scheduler/cli/ids.h"
#include "scheduler/cli/print.h"

static int fetch(const struct view *view, json_t **document, struct error *err) {
    struct client client;
    int rc = client_open(&client, err);
    if (rc == 0)
        rc = client_view(&client, view, document, NULL, err);
    client_close(&client);
    return rc;
}

int named_print(const char *what, const struct named_arguments *a, int count, char **operands, named_printer *print, struct error *err) {
    struct arena arena = {0};
    struct view view = client_view_of(what);
    json_t *document = NULL;
    view.all = true;
    int rc = a->format ? format_check(a->format, err) : 0;
    if (rc == 0 && (rc = ids_parse(count, operands, &view.jobs, &arena, err)) == 0 && (rc = fetch(&view, &document, err)) == 0) {
        if (a->json_lines)
            print_json_lines(json_object_get(document, "jobs"), stdout);
        else if (a->common.json)
            print_json(document, stdout);
        else if (a->format)
            format_rows(json_object_get(document, "jobs"), a->format, stdout);
        else
            print(document, clock_wall_ms(), stdout);
    }
    json_decref(document);
    arena_release(&arena);
    return rc;
}
