/* What every unit test includes: cmocka, in the order that it wants, and checks of errors that print the sentence. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/error.h"

#define assert_ok(call, err)                                                     \
    do {                                                                         \
        int rc_ = (call);                                                        \
        if (rc_)                                                                 \
            fail_msg("%s: %s: %s", #call, error_name(rc_), (err)->text);         \
    } while (0)

/* The call fails with this code, and its sentence contains `part`. */
#define assert_error(call, want, err, part)                                      \
    do {                                                                         \
        int rc_ = (call);                                                        \
        if (rc_ != (want))                                                       \
            fail_msg("%s: %s, not %s", #call, error_name(rc_), error_name(want)); \
        if (!strstr((err)->text, part))                                          \
            fail_msg("%s: '%s' does not say '%s'", #call, (err)->text, part);    \
    } while (0)

#define COUNT(a) (sizeof(a) / sizeof *(a))

#endif
