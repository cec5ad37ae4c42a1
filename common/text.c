/* Parsing and formatting of what people type and read. Pure: no files, no locale beyond wcwidth (in text_table.c). */
#include "common/text.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "common/utf8.h"

static const char *const duration_forms = "a duration such as 90s, 10m, 2h30m, 1d, 1:30:00 or 1-00:00:00";

/* Reads decimal digits at *p into *value. False: no digit there, or more than an int64_t holds. */
static bool take_digits(const char **p, int64_t *value) {
    if (!isdigit((unsigned char)**p))
        return false;
    for (*value = 0; isdigit((unsigned char)**p); (*p)++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, **p - '0', value))
            return false;
    return true;
}

static bool add_scaled(int64_t *sum, int64_t value, int64_t scale) {
    int64_t scaled;
    return !__builtin_mul_overflow(value, scale, &scaled) && !__builtin_add_overflow(*sum, scaled, sum);
}

/* "[D-]H:M:S". Minutes and seconds are below 60, and hours below 24 after days: anything else is a slip of the pen. */
static bool parse_clock(const char *text, int64_t *ms) {
    int64_t part[3], days = 0, sum = 0;
    const char *p = text, *dash = strchr(text, '-');
    if (dash && (!take_digits(&p, &days) || *p++ != '-'))
        return false;
    for (int i = 0; i < 3; i++)
        if (!take_digits(&p, &part[i]) || *p++ != (i < 2 ? ':' : '\0'))
            return false;
    if (part[1] > 59 || part[2] > 59 || (dash && part[0] > 23))
        return false;
    *ms = 0;
    if (!add_scaled(&sum, days, 86400000) || !add_scaled(&sum, part[0], 3600000) || !add_scaled(&sum, part[1] * 60 + part[2], 1000))
        return false;
    *ms = sum;
    return true;
}

/* "2h30m": numbers with units, the larger unit first; a lone number is seconds. */
static bool parse_units(const char *text, int64_t *ms) {
    static const struct { const char *name; int64_t ms; } units[] = {
        {"w", 604800000}, {"d", 86400000}, {"h", 3600000}, {"ms", 1}, {"m", 60000}, {"s", 1000}};
    int64_t sum = 0, below = INT64_MAX;
    const char *p = text;
    do {
        int64_t value;
        if (!take_digits(&p, &value))
            return false;
        if (!*p && p > text && below == INT64_MAX) {
            if (!add_scaled(&sum, value, 1000))
                return false;
            break;
        }
        int64_t unit = 0;
        for (size_t i = 0; i < sizeof units / sizeof *units && !unit; i++)
            if (!strncmp(p, units[i].name, strlen(units[i].name))) {
                unit = units[i].ms;
                p += strlen(units[i].name);
            }
        if (!unit || unit >= below || !add_scaled(&sum, value, unit))
            return false;
        below = unit;
    } while (*p);
    *ms = sum;
    return true;
}

int text_parse_duration_ms(const char *text, int64_t *ms, struct error *err) {
    int64_t parsed;
    if (!(strchr(text, ':') ? parse_clock(text, &parsed) : parse_units(text, &parsed)))
        return error_set(err, ERR_INVALID, "expected %s, got '%.64s'", duration_forms, text);
    *ms = parsed;
    return 0;
}

int text_parse_size_mib(const char *text, int64_t *mib, struct error *err) {
    static const struct { char name; int64_t mib; } units[] = {{'M', 1}, {'G', 1024}, {'T', 1024 * 1024}};
    const char *p = text;
    int64_t value, unit = 1, sum = 0;
    bool ok = take_digits(&p, &value);
    if (ok && *p) {
        unit = 0;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (toupper((unsigned char)*p) == units[i].name)
                unit = units[i].mib;
        p++;
        ok = unit && (!*p || !strcasecmp(p, "b") || !strcasecmp(p, "ib"));
    }
    if (!ok || !add_scaled(&sum, value, unit))
        return error_set(err, ERR_INVALID, "expected a size such as 512M, 16G or 1T (a bare number is MiB), got '%.64s'", text);
    *mib = sum;
    return 0;
}

int text_parse_int(const char *text, int64_t min, int64_t max, int64_t *value, struct error *err) {
    const char *p = text + (*text == '-' || *text == '+');
    int64_t parsed;
    if (!take_digits(&p, &parsed) || *p)
        return error_set(err, ERR_INVALID, "expected an integer, got '%.64s'", text);
    if (*text == '-')
        parsed = -parsed;
    if (parsed < min && max == INT64_MAX)
        return error_set(err, ERR_INVALID, "must be at least %lld, not %lld", (long long)min, (long long)parsed);
    if (parsed < min || parsed > max)
        return error_set(err, ERR_INVALID, "must be %lld..%lld, not %lld", (long long)min, (long long)max, (long long)parsed);
    *value = parsed;
    return 0;
}

int text_parse_range(const char *text, int64_t min, int64_t max, struct text_range *range, struct error *err) {
    struct text_range r;
    const char *dots = strstr(text, "..");
    char least[32];
    if (!dots) {
        int rc = text_parse_int(text, min, max, &r.least, err);
        if (!rc)
            *range = (struct text_range){r.least, r.least};
        return rc;
    }
    snprintf(least, sizeof least, "%.*s", dots - text < 31 ? (int)(dots - text) : 31, text);
    if (!*least || !dots[2] || dots[2] == '.')
        return error_set(err, ERR_INVALID, "expected a number, or the least and the most such as 4..16, got '%.64s'", text);
    int rc = text_parse_int(least, min < 1 ? 1 : min, max, &r.least, err);
    rc = rc ? rc : text_parse_int(dots + 2, min, max, &r.most, err);
    if (!rc && r.least > r.most)
        return error_set(err, ERR_INVALID, "the least comes first: %lld..%lld", (long long)r.most, (long long)r.least);
    if (!rc)
        *range = r;
    return rc;
}

const char *text_duration(int64_t ms, char *buffer, size_t size) {
    const char *sign = ms < 0 ? "-" : "";
    unsigned long long t = ms < 0 ? 0 - (unsigned long long)ms : (unsigned long long)ms, s = t / 1000;
    if (t < 1000)
        snprintf(buffer, size, "%s%llums", sign, t);
    else if (s < 60)
        snprintf(buffer, size, "%s%llus", sign, s);
    else if (s < 3600)
        snprintf(buffer, size, "%s%llum%02llus", sign, s / 60, s % 60);
    else if (s < 86400)
        snprintf(buffer, size, "%s%lluh%02llum", sign, s / 3600, s / 60 % 60);
    else
        snprintf(buffer, size, "%s%llud%02lluh", sign, s / 86400, s / 3600 % 24);
    return buffer;
}

const char *text_size_mib(int64_t mib, char *buffer, size_t size) {
    if (mib < 1024)
        snprintf(buffer, size, "%lld MiB", (long long)mib);
    else if (mib < 1024 * 1024)
        snprintf(buffer, size, "%.1f GiB", (double)mib / 1024);
    else
        snprintf(buffer, size, "%.1f TiB", (double)mib / (1024 * 1024));
    return buffer;
}

bool text_copy(char *into, size_t size, const char *from) {
    size_t length = strnlen(from, size);
    bool whole = length < size;
    if (!whole)
        length = size - 1;
    memcpy(into, from, length);
    into[length] = '\0';
    return whole;
}

void text_append(char *buffer, size_t size, size_t *used, const char *format, ...) {
    if (*used + 1 >= size)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(buffer + *used, size - *used, format, args);
    va_end(args);
    if (n > 0)
        *used = (size_t)n < size - *used ? *used + (size_t)n : size - 1;
}

int text_check_name(const char *what, const char *name, size_t max, struct error *err) {
    size_t length = strlen(name);
    if (!length)
        return error_set(err, ERR_INVALID, "%s is empty", what);
    if (length > max)
        return error_set(err, ERR_INVALID, "%s is %zu bytes long; at most %zu are allowed", what, length, max);
    if (*name == '-')
        return error_set(err, ERR_INVALID, "%s must not begin with a dash", what);
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t point;
        if (!(n = utf8_next(name + at, length - at, &point)))
            return error_set(err, ERR_INVALID, "%s is not valid UTF-8 (byte %zu)", what, at + 1);
        if (utf8_is_control(point))
            return error_set(err, ERR_INVALID, "%s has a control character (byte %zu)", what, at + 1);
    }
    return 0;
}

int text_check_node_name(const char *what, const char *name, size_t max, struct error *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    int rc = text_check_name(what, name, max, err);
    if (!rc && name[strspn(name, allowed)])
        rc = error_set(err, ERR_INVALID, "%s has only letters, digits, '_', '.' and '-' (byte %zu is another)", what,
                       strspn(name, allowed) + 1);
    return rc;
}

int text_check_list(const char *what, const char *list, size_t max, text_check *check, struct error *err) {
    if (strlen(list) > max)
        return error_set(err, ERR_INVALID, "%s: %zu bytes; at most %zu are allowed", what, strlen(list), max);
    for (const char *p = list, *next; *p; p = next) {
        char item[TEXT_ITEM_MAX + 1];
        size_t n = strcspn(p, ",");
        next = p + n + (p[n] == ',');
        if (!n || n > TEXT_ITEM_MAX || (p[n] && !*next))
            return error_set(err, ERR_INVALID, "%s: expected names of 1..%d bytes with a comma between two, got '%.64s'", what,
                             TEXT_ITEM_MAX, list);
        snprintf(item, sizeof item, "%.*s", (int)n, p);
        int rc = check(what, item, TEXT_ITEM_MAX, err);
        if (rc)
            return rc;
    }
    return 0;
}

void text_write_safe(FILE *out, const char *s, size_t length) {
    for (size_t at = 0, n; at < length; at += n) {
        uint32_t point;
        n = utf8_next(s + at, length - at, &point);
        if (n && !utf8_is_control(point)) {
            fwrite(s + at, 1, n, out);
            continue;
        }
        n = n ? n : 1;
        for (size_t i = 0; i < n; i++)
            fprintf(out, "\\x%02x", (unsigned char)s[at + i]);
    }
}

int text_distance(const char *a, const char *b) {
    enum { LONGEST = 64 };
    size_t rows = strlen(a), cols = strlen(b);
    if (rows > LONGEST || cols > LONGEST)
        return LONGEST;
    int row[LONGEST + 1];
    for (size_t j = 0; j <= cols; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= rows; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= cols; j++) {
            int replace = diagonal + (a[i - 1] != b[j - 1]), least = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < least ? replace : least;
        }
    }
    return row[cols];
}
