/* schema.sql inside the program, cut at its `-- version N` lines. */
#include <stdio.h>
#include <string.h>

#include "scheduler/store_sql.h"

__asm__(".pushsection .rodata\n"
        "schema_text:\n"
        ".incbin \"scheduler/schema.sql\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char schema_text[] __attribute__((visibility("hidden")));

const char *store_schema_section(int version, size_t *length) {
    char mark[32];
    snprintf(mark, sizeof mark, "\n-- version %d\n", version);
    const char *begin = strstr(schema_text, mark);
    if (!begin)
        return NULL;
    begin += strlen(mark);
    const char *end = strstr(begin, "\n-- version ");
    if (length)
        *length = end ? (size_t)(end - begin) : strlen(begin);
    return begin;
}
