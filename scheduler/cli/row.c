#include "scheduler/cli/row.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

const char *row_text(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

int64_t row_int(const json_t *row, const char *key, int64_t otherwise) {
    const json_t *value = json_object_get(row, key);
    return json_is_integer(value) ? json_integer_value(value) : json_is_real(value) ? (int64_t)json_real_value(value) : otherwise;
}

double row_real(const json_t *row, const char *key, double otherwise) {
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool row_bool(const json_t *row, const char *key) { return json_is_true(json_object_get(row, key)); }

bool row_has(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    return value && !json_is_null(value);
}

const char *row_join(const json_t *row, const char *key, const char *separator, char *buffer, size_t size) {
    size_t used = 0, i;
    json_t *item;
    buffer[0] = '\0';
    json_array_foreach(json_object_get(row, key), i, item) {
        char number[24];
        snprintf(number, sizeof number, "%" PRId64, (int64_t)json_integer_value(item));
        const char *text = json_is_string(item) ? json_string_value(item) : number;
        if (used + strlen(separator) + strlen(text) + sizeof "..." >= size) {
            text_append(buffer, size, &used, "...");
            break;
        }
        text_append(buffer, size, &used, "%s%s", i ? separator : "", text);
    }
    return buffer;
}
