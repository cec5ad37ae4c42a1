#include "common/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
    int exit_code;
} codes[] = {
#define X(n, e, t) {#n, t, e},
    ERROR_CODES(X)
#undef X
};

static int index_of(int code) {
    return code <= 0 && -code < ERR_INDEX_COUNT ? -code : ERR_INDEX_FAILED;
}

int error_set(struct error *err, int code, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

int error_set_errno(struct error *err, int code, const char *format, ...) {
    int saved = errno;
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(saved));
        err->code = code;
    }
    return code;
}

int error_wrap(struct error *err, const char *format, ...) {
    if (!err)
        return ERR_FAILED;
    char context[ERROR_TEXT_MAX], whole[2 * ERROR_TEXT_MAX + 2];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    snprintf(whole, sizeof whole, "%s: %s", context, err->text);
    memcpy(err->text, whole, sizeof err->text - 1);
    err->text[sizeof err->text - 1] = '\0';
    return err->code;
}

const char *error_name(int code) { return codes[index_of(code)].name; }
const char *error_code_text(int code) { return codes[index_of(code)].text; }
int error_exit_code(int code) { return codes[index_of(code)].exit_code; }
