#include "scheduler/cli/print.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>


enum { LABEL_WIDTH = 12 };

static json_t *with_version(const json_t *document) {
    json_t *whole = json_object();
    json_object_set_new(whole, "schema_version", json_integer(PRINT_SCHEMA_VERSION));
    json_object_update(whole, (json_t *)document);
    return whole;
}

void print_json(const json_t *document, FILE *out) {
    json_t *whole = with_version(document);
    json_dumpf(whole, out, JSON_INDENT(2));
    fputc('\n', out);
    json_decref(whole);
}

void print_json_compact(const json_t *document, FILE *out) {
    json_t *whole = with_version(document);
    print_json_line(whole, out);
    json_decref(whole);
}

void print_json_line(const json_t *row, FILE *out) {
    json_dumpf(row, out, JSON_COMPACT);
    fputc('\n', out);
    fflush(out);
}

void print_json_lines(const json_t *rows, FILE *out) {
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)rows, i, row)
        print_json_line(row, out);
}

bool print_is_terminal(FILE *out) {
    const char *terminal = getenv("TERM");
    int fd = fileno(out);   /* -1 for a stream in memory */
    return fd >= 0 && isatty(fd) && terminal && strcmp(terminal, "dumb");
}

const char *print_colour(FILE *out, enum colour colour) {
    static const char *const sequences[] = {
        [COLOUR_PLAIN] = "\033[0m", [COLOUR_BOLD] = "\033[1m",    [COLOUR_DIM] = "\033[2m",   [COLOUR_RED] = "\033[31m",
        [COLOUR_GREEN] = "\033[32m", [COLOUR_YELLOW] = "\033[33m", [COLOUR_BLUE] = "\033[34m"};
    const char *no_color = getenv("NO_COLOR");
    return (no_color && *no_color) || !print_is_terminal(out) ? "" : sequences[colour];
}

int print_columns(FILE *out) {
    struct winsize size;
    return fileno(out) >= 0 && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

void print_clear_screen(FILE *out) { fputs(print_is_terminal(out) ? "\033[H\033[2J" : "\n", out); }

static int full_cells(double fraction, int cells) { return fraction >= 1 ? cells : fraction > 0 ? (int)(fraction * cells) : 0; }

const char *print_bar_of_two(double solid, double whole, int cells, char *buffer, size_t size) {
    static const char *const plain[] = {"#", "+", "."}, *const blocks[] = {"\u2588", "\u2592", "\u2591"};
    const char *const *cell = strcmp(nl_langinfo(CODESET), "UTF-8") ? plain : blocks;
    int first = full_cells(solid, cells), both = full_cells(whole, cells);
    size_t used = 0;
    text_append(buffer, size, &used, "[");
    for (int i = 0; i < cells; i++)
        text_append(buffer, size, &used, "%s", cell[i < first ? 0 : i < both ? 1 : 2]);
    text_append(buffer, size, &used, "]");
    return buffer;
}

const char *print_bar(double fraction, int cells, char *buffer, size_t size) {
    return print_bar_of_two(fraction, fraction, cells, buffer, size);
}

const char *print_safe(const char *s, char *buffer, size_t size) {
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        abort();
    text_write_safe(memory, s, strlen(s));
    fclose(memory);
    text_copy(buffer, size, text);
    free(text);
    return buffer;
}

void print_field(FILE *out, const char *label, const char *format, ...) {
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!*text)
        return;
    fprintf(out, "  %-*s", LABEL_WIDTH, label);
    text_write_safe(out, text, strlen(text));
    fputc('\n', out);
}

static const char *local_time(int64_t wall_ms, bool date, char *buffer, size_t size) {
    time_t seconds = wall_ms / 1000;
    struct tm parts;
    if (wall_ms <= 0 || !localtime_r(&seconds, &parts) || !strftime(buffer, size, date ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &parts))
        text_copy(buffer, size, "-");
    return buffer;
}

const char *print_time_of_day(int64_t wall_ms, char *buffer, size_t size) { return local_time(wall_ms, false, buffer, size); }
const char *print_date_and_time(int64_t wall_ms, char *buffer, size_t size) { return local_time(wall_ms, true, buffer, size); }
