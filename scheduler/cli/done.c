#include "scheduler/cli/done.h"

#include <inttypes.h>

#include "scheduler/cli/print.h"
#include "scheduler/cli/row.h"

void done_print_json(const struct done *done) {
    json_t *document = json_pack("{s:I, s:s, s:O*}", "count", (json_int_t)done->count, "text", done->text, "rows", done->rows);
    print_json(document, stdout);
    json_decref(document);
}

int done_print(const struct done *done, bool json, const char *past, const char *noun, FILE *out) {
    char text[1024];
    size_t i;
    json_t *row;
    int code = 0;
    if (json)
        done_print_json(done);
    fprintf(out, "%s %" PRId64 " %s%s%s%s\n", past, done->count, noun, done->count == 1 ? "" : "s", *done->text ? ": " : "",
            print_safe(done->text, text, sizeof text));
    json_array_foreach(done->rows, i, row) {
        if (!row_has(row, "error"))
            continue;
        fprintf(out, "muster: %s\n", print_safe(row_text(row, "error"), text, sizeof text));
        code = error_exit_code(ERR_FAILED);
    }
    return code;
}
