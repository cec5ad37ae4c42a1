/* Slurm's % patterns in the paths of a job's output. */
#include "worker/output_path.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

static void append_number(char *out, size_t *used, int64_t value, int width) {
    text_append(out, PATH_MAX, used, "%0*" PRId64, width, value);
}

static void append_pattern(const struct start *order, const char *node, int rank, char letter, int width, char *out, size_t *used) {
    switch (letter) {
    case 'j': append_number(out, used, order->job, width); break;
    case 'A': append_number(out, used, order->array ? order->array : order->job, width); break;
    case 'J': text_append(out, PATH_MAX, used, "%" PRId64 ".%" PRId64, order->job, order->attempt); break;
    case 'a': append_number(out, used, order->array ? order->element : 0, width); break;
    case 'n': append_number(out, used, order->node_rank, width); break;
    case 't': append_number(out, used, rank < 0 ? 0 : rank, width); break;
    case 'x': text_append(out, PATH_MAX, used, "%s", order->spec.name); break;
    case 'u': text_append(out, PATH_MAX, used, "%s", order->user); break;
    case 'N': text_append(out, PATH_MAX, used, "%s", node); break;
    case '%': text_append(out, PATH_MAX, used, "%%"); break;
    default: text_append(out, PATH_MAX, used, "%%%c", letter); break;
    }
}

void output_path_expand(const struct start *order, const char *node, int rank, const char *pattern, char out[PATH_MAX]) {
    size_t used = 0;
    const char *p = *pattern ? pattern : order->array ? "muster-%A_%a.out" : "muster-%j.out";
    out[0] = '\0';
    if (*p != '/')
        text_append(out, PATH_MAX, &used, "%s/", order->spec.directory);
    for (; *p; p++) {
        if (*p != '%' || !p[1]) {
            text_append(out, PATH_MAX, &used, "%c", *p);
            continue;
        }
        int width = 0;
        for (p++; isdigit((unsigned char)*p); p++)
            width = width < 10 ? width * 10 + (*p - '0') : width;
        if (!*p)
            break;
        append_pattern(order, node, rank, *p, width > 10 ? 10 : width, out, &used);
    }
}
