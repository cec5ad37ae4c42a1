#include "scheduler/sim/svg.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- text ---- */

static void write_escaped(FILE *out, const char *s) {
    for (; *s; s++) {
        if (*s == '&')
            fputs("&amp;", out);
        else if (*s == '<')
            fputs("&lt;", out);
        else if (*s == '>')
            fputs("&gt;", out);
        else if (*s == '"')
            fputs("&quot;", out);
        else if ((unsigned char)*s < ' ')
            fputc(' ', out);
        else
            fputc(*s, out);
    }
}

void svg_text(FILE *out, double x, double y, const char *class, const char *anchor, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class, anchor);
    write_escaped(out, text);
    fputs("</text>\n", out);
}

/* ---- panels ---- */

double svg_x(const struct svg_panel *p, double value) { return p->x + p->width * (p->x_max > 0 ? value / p->x_max : 0); }

double svg_y(const struct svg_panel *p, double value) {
    double part = p->y_max > 0 ? value / p->y_max : 0;
    if (p->y_log)
        part = value <= p->y_least ? 0 : log(value / p->y_least) / log(p->y_max / p->y_least);
    return p->y + p->height * (1 - (part < 0 ? 0 : part > 1 ? 1 : part));
}

void svg_panel_begin(const struct svg_panel *p, const char *title) {
    fprintf(p->out, "<g id=\"%s\" data-x=\"%.1f\" data-y=\"%.1f\" data-width=\"%.1f\" data-height=\"%.1f\" data-x-max=\"%.10g\" "
            "data-y-max=\"%.10g\"", p->id, p->x, p->y, p->width, p->height, p->x_max, p->y_max);
    if (p->y_log)
        fprintf(p->out, " data-y-log-from=\"%.10g\"", p->y_least);
    fputs(">\n", p->out);
    if (*title)
        svg_text(p->out, p->x, p->y - 10, "h", "start", "%s", title);
    fprintf(p->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"plot\"/>\n", p->x, p->y, p->width, p->height);
}

void svg_panel_end(const struct svg_panel *p) { fputs("</g>\n", p->out); }

/* ---- axes ---- */

double svg_nice_step(double max, int ticks) {
    double rough = max / ticks, power = pow(10, floor(log10(rough > 0 ? rough : 1))), part = rough / power;
    return (part <= 1 ? 1 : part <= 2 ? 2 : part <= 2.5 ? 2.5 : part <= 5 ? 5 : 10) * power;
}

static void grid(const struct svg_panel *p, double x1, double y1, double x2, double y2) {
    fprintf(p->out, "<path d=\"M%.1f %.1fL%.1f %.1f\" class=\"grid\"/>\n", x1, y1, x2, y2);
}

/* As clocks and calendars have them. */
static double time_step(double span, const double *steps, int count, int ticks) {
    for (int i = 0; i < count; i++)
        if (span <= steps[i] * ticks)
            return steps[i];
    return svg_nice_step(span, ticks);
}

void svg_time_axis(const struct svg_panel *p, bool labels) {
    static const struct { const char *name; double seconds, below, steps[8]; } units[] = {
        {"min", 60, 3 * 3600, {1, 2, 5, 10, 15, 30, 60, 120}}, {"h", 3600, 72 * 3600, {1, 2, 3, 6, 12, 24, 48, 96}},
        {"d", 86400, INFINITY, {1, 2, 5, 7, 10, 14, 30, 60}}};
    int u = 0, ticks = (int)(p->width / 70) + 1;
    while (p->x_max >= units[u].below)
        u++;
    double step = time_step(p->x_max / units[u].seconds, units[u].steps, 8, ticks);
    for (int i = 0; i * step * units[u].seconds <= p->x_max * 1.0001; i++) {
        double x = svg_x(p, i * step * units[u].seconds);
        grid(p, x, p->y, x, p->y + p->height);
        if (labels)
            svg_text(p->out, x, p->y + p->height + 15, "a", "middle", "%g %s", i * step, units[u].name);
    }
}

static void label_left(const struct svg_panel *p, double value, const char *text) {
    grid(p, p->x, svg_y(p, value), p->x + p->width, svg_y(p, value));
    svg_text(p->out, p->x - 8, svg_y(p, value) + 4, "a", "end", "%s", text);
}

void svg_count_axis(const struct svg_panel *p, int ticks, bool top) {
    double step = svg_nice_step(p->y_max, ticks), least = step < 1 ? 1 : step < 5 ? floor(step) : step;   /* whole ones */
    char text[64];
    for (int i = 0; i * least <= p->y_max * (top ? 0.95 : 1.0001); i++) {
        snprintf(text, sizeof text, "%g", i * least);
        label_left(p, i * least, text);
    }
    snprintf(text, sizeof text, "%g", p->y_max);
    if (top)
        label_left(p, p->y_max, text);
}

void svg_share_axis(const struct svg_panel *p, double whole) {
    for (int percent = 0; percent <= 100; percent += 25) {
        char text[64];
        snprintf(text, sizeof text, "%d%%", percent);
        label_left(p, whole * percent / 100, text);
    }
}

void svg_duration_axis(const struct svg_panel *p) {
    static const struct { double seconds; const char *text; } ticks[] = {
        {1, "\u2264 1 s"}, {10, "10 s"}, {60, "1 min"}, {600, "10 min"}, {3600, "1 h"}, {6 * 3600, "6 h"}, {86400, "1 d"},
        {3 * 86400, "3 d"}, {7 * 86400, "7 d"}, {30 * 86400, "30 d"}, {100 * 86400, "100 d"}, {365 * 86400, "365 d"}};
    double before = INFINITY;
    for (size_t i = 0; i < sizeof ticks / sizeof *ticks; i++) {
        double y = svg_y(p, ticks[i].seconds);
        if (ticks[i].seconds < p->y_least || ticks[i].seconds > p->y_max * 1.0001 || before - y < 13)
            continue;   /* it would stand on the one before */
        label_left(p, ticks[i].seconds, ticks[i].text);
        before = y;
    }
}

/* ---- series ---- */

static void begin_path(const struct svg_panel *p, const char *series, const char *class) {
    fputs("<path data-series=\"", p->out);
    write_escaped(p->out, series);
    fprintf(p->out, "\" class=\"%s\" d=\"", class);
}

static void end_path(const struct svg_panel *p) { fputs("\"/>\n", p->out); }

void svg_steps(const struct svg_panel *p, const char *series, const char *class, const double *x, const double *values, int count) {
    bool open = false;
    begin_path(p, series, class);
    for (int i = 0; i < count; open = values[i++] >= 0)
        if (values[i] >= 0)
            fprintf(p->out, "%c%.1f %.1fH%.1f", open ? 'L' : 'M', svg_x(p, x[i]), svg_y(p, values[i]), svg_x(p, x[i + 1]));
    end_path(p);
}

/* Along the high line, and back along the low one. */
static void surface(const struct svg_panel *p, const double *x, const double *low, const double *high, int first, int end) {
    for (int i = first; i < end; i++)
        fprintf(p->out, "%c%.1f %.1fH%.1f", i > first ? 'L' : 'M', svg_x(p, x[i]), svg_y(p, high[i]), svg_x(p, x[i + 1]));
    if (!low)
        fprintf(p->out, "V%.1fH%.1f", p->y + p->height, svg_x(p, x[first]));
    for (int i = end - 1; i >= first && low; i--)
        fprintf(p->out, "L%.1f %.1fH%.1f", svg_x(p, x[i + 1]), svg_y(p, low[i]), svg_x(p, x[i]));
    fputc('Z', p->out);
}

void svg_area(const struct svg_panel *p, const char *series, const char *class, const double *x, const double *low, const double *high,
              int count) {
    begin_path(p, series, class);
    for (int first = 0, end; first < count; first = end) {
        for (end = first; end < count && high[end] >= 0; end++)
            ;
        if (end > first)
            surface(p, x, low, high, first, end);
        else
            end++;
    }
    end_path(p);
}

void svg_level(const struct svg_panel *p, const char *series, const char *class, double value) {
    begin_path(p, series, class);
    fprintf(p->out, "M%.1f %.1fH%.1f", p->x, svg_y(p, value), p->x + p->width);
    end_path(p);
}

double svg_legend(FILE *out, double x, double y, const char *class, bool line, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (line)
        fprintf(out, "<path d=\"M%.1f %.1fh16\" class=\"%s\"/>\n", x, y - 4, class);
    else
        fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"10\" class=\"%s\"/>\n", x + 2, y - 9, class);
    svg_text(out, x + 21, y, "l", "start", "%s", text);
    return x + 21 + 6.2 * (double)strlen(text) + 18;   /* a letter is about so wide */
}
