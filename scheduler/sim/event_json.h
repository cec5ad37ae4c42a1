/* An exported event log, line by line: what scheduler/cluster/event_log.h describes, written of a simulated world and read from anybody.
 * Whatever is in a file, reading it ends well or with a sentence: lines, members and counts are bounded.
 */
#ifndef SCHEDULER_SIM_EVENT_JSON_H
#define SCHEDULER_SIM_EVENT_JSON_H

#include <stdio.h>

#include "scheduler/cluster/event_log.h"
#include "scheduler/sim/world.h"

int event_log_write(const struct world *w, FILE *out);   /* 0, or -1: errno */

enum log_line { LOG_NOTHING_LEFT, LOG_FROM_NOTHING /* {"snapshot": null} */, LOG_SNAPSHOT, LOG_ROW, LOG_TURN, LOG_END };

/* The members of the line that was read last; all in the arena, until the next. */
struct log_reader {
    FILE *file;                   /* borrowed */
    int64_t line;                 /* its number, from 1 */
    struct snapshot_head head;
    enum snapshot_kind kind;
    union snapshot_row row;
    struct logged_turn turn;
    struct event *events;
    size_t event_count;
    struct logged_end end;
    struct arena arena;
    char *text;
    size_t text_capacity;
};

void log_reader_init(struct log_reader *r, FILE *file);
void log_reader_release(struct log_reader *r);
/* The next line. ERR_PROTOCOL says what is wrong with it. */
int log_reader_next(struct log_reader *r, enum log_line *what, struct error *err);

#endif
