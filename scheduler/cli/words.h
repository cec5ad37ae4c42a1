/* A line of text as the words that a shell would make of it, with nothing expanded. */
#ifndef SCHEDULER_CLI_WORDS_H
#define SCHEDULER_CLI_WORDS_H

#include "common/error.h"

/* Blanks part words; 'quotes', "quotes" and \ keep them together as in sh, where within "quotes" \ means something before " \ $ and `
 * only. $NAME, ~, * and # stand for themselves. Words are made within `line` and at most `max` of them put into `words`. Returns their
 * number, or ERR_INVALID: too many, a quote that is open, or a \ with nothing after it. */
int words_split(char *line, char **words, int max, struct error *err);

#endif
