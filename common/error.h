/* Errors: a code that programs act on, and a sentence that people read.
 *
 * A call that can fail returns 0 or a negative enum error_code and fills the caller's struct error. A failed call changes nothing.
 * Callers add context on the way up with error_wrap: "job.yaml: queue 'ml': no such queue".
 * Programmer errors assert (asserts stay on in release). Untrusted input never reaches an assert.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <stdarg.h>

/* X(name, exit code of the command line, short text). The values go over the wire: append, never reorder. */
#define ERROR_CODES(X)                                                              \
    X(OK, 0, "ok")                                                                  \
    X(FAILED, 1, "failed")                                                          \
    X(INVALID, 2, "invalid request")                                                \
    X(NOT_FOUND, 3, "not found")                                                    \
    X(DENIED, 4, "permission denied")                                               \
    X(OVER_QUOTA, 4, "over quota")                                                  \
    X(NEVER_FITS, 4, "can never fit")                                               \
    X(CONFLICT, 5, "conflict")                                                      \
    X(UNREACHABLE, 6, "scheduler unreachable")                                      \
    X(TIMEOUT, 7, "timed out")                                                      \
    X(STORE, 8, "the scheduler can't store now")                                    \
    X(BUSY, 1, "busy, try again")                                                   \
    X(STALE, 5, "from a past attempt or lease")                                     \
    X(PROTOCOL, 1, "malformed message")                                             \
    X(IO, 1, "input/output error")

enum error_code {
#define X(name, exit_code, text) ERR_INDEX_##name,
    ERROR_CODES(X)
#undef X
    ERR_INDEX_COUNT,
#define X(name, exit_code, text) ERR_##name = -ERR_INDEX_##name,
    ERROR_CODES(X)
#undef X
};

enum { ERROR_TEXT_MAX = 512 };

struct error {
    enum error_code code;
    char text[ERROR_TEXT_MAX];   /* one sentence, no newline; cut, never overrun */
};

/* Fills *err (which may be NULL) and returns code, so that callers write `return error_set(err, ERR_INVALID, "...")`. */
int error_set(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Like error_set, with ": strerror(errno)" appended. */
int error_set_errno(struct error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts context in front of the sentence: error_wrap(err, "reading %s", path) -> "reading F: no such file". Returns err's code. */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *error_name(int code);        /* "OVER_QUOTA" */
const char *error_code_text(int code);   /* "over quota" */
int error_exit_code(int code);           /* what a command exits with */

#endif
