/* A sheet of panels: numbers to places, axes, steps and areas, as SVG text. Knows nothing of what is drawn. */
#ifndef SCHEDULER_SIM_SVG_H
#define SCHEDULER_SIM_SVG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct svg_panel {
    FILE *out;
    const char *id;
    double x, y, width, height;      /* of the plot, without labels */
    double x_max, y_max;             /* its numbers reach from 0 (y_log: from y_least) to here */
    bool y_log;
    double y_least;
};

/* Text is escaped; class names a style. */
void svg_text(FILE *out, double x, double y, const char *class, const char *anchor, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

void svg_panel_begin(const struct svg_panel *p, const char *title);
void svg_panel_end(const struct svg_panel *p);
double svg_x(const struct svg_panel *p, double value);
double svg_y(const struct svg_panel *p, double value);

/* Grid and labels. */
void svg_time_axis(const struct svg_panel *p, bool labels);                      /* x in seconds */
void svg_count_axis(const struct svg_panel *p, int ticks, bool top);             /* top: y_max has its label, too */
void svg_share_axis(const struct svg_panel *p, double whole);                    /* percent of it */
void svg_duration_axis(const struct svg_panel *p);                               /* y_log, in seconds */

/* values[i] holds from x[i] to x[i + 1]; there are count of them, and count + 1 places. Below 0: a gap. */
void svg_steps(const struct svg_panel *p, const char *series, const char *class, const double *x, const double *values, int count);
/* The surface between two such lines; low NULL: from the floor. */
void svg_area(const struct svg_panel *p, const char *series, const char *class, const double *x, const double *low, const double *high,
              int count);
/* Across the panel. */
void svg_level(const struct svg_panel *p, const char *series, const char *class, double value);

/* A swatch and its text; returns where the next one begins. */
double svg_legend(FILE *out, double x, double y, const char *class, bool line, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* 1, 2, 2.5 or 5 times a power of ten: about `ticks` steps up to max. */
double svg_nice_step(double max, int ticks);

#endif
