#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

static const char *program_name = "muster";
static enum log_level most_verbose = LOG_LEVEL_INFO;

void log_init(const char *program) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *asked = getenv("MUSTER_LOG");
    program_name = program;
    for (unsigned i = 0; asked && i < sizeof names / sizeof *names; i++)
        if (!strcmp(asked, names[i]))
            most_verbose = (enum log_level)i;
}

void log_write(enum log_level level, const char *event, const char *format, ...) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (level > most_verbose)
        return;
    char line[2048], when[32];
    int64_t now_ms = clock_wall_ms();
    int used = snprintf(line, sizeof line, "%s.%03d %s %s %s ", clock_format_wall(now_ms, when, sizeof when), (int)(now_ms % 1000),
                        program_name, names[level], event);
    va_list args;
    va_start(args, format);
    used += vsnprintf(line + used, sizeof line - (size_t)used, format, args);
    va_end(args);
    if (used > (int)sizeof line - 2)
        used = (int)sizeof line - 2;
    for (int i = 0; i < used; i++)   /* one event is one line, and no name can drive a terminal */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[used] = '\n';
    fwrite(line, 1, (size_t)used + 1, stderr);   /* one write: lines of two processes never mix */
}
