/* The settings of a queue by their table: parsed, printed, checked and merged. Pure. */
#include "common/queue_spec.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"

#define RECORD_SELF struct queue_typed
RECORD_DEFINE(queue_typed, QUEUE_TYPED_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct queue_spec
RECORD_DEFINE(queue_spec, QUEUE_SPEC_FIELDS)
#undef RECORD_SELF

static const struct setting {
    const char *word;
    enum queue_setting_kind kind;
    size_t at;
    int64_t least, most;
} settings[] = {
#define X(NAME, word, member, kind, least, most) {word, QUEUE_KIND_##kind, offsetof(struct queue_spec, member), least, most},
    QUEUE_SETTINGS(X)
#undef X
};

/* Of those that may be given for one type of GPU. */
static const size_t typed_at[QUEUE_TYPED_COUNT] = {offsetof(struct queue_typed, guarantee), offsetof(struct queue_typed, limit),
                                                   offsetof(struct queue_typed, weight)};

static const char *const policies[QUEUE_POLICY_COUNT] = {"", "fair", "fifo", "priority", "strict"};

static int64_t *number_in(void *record, size_t at) { return (int64_t *)((char *)record + at); }
static int64_t number_of(const void *record, size_t at) { return *(const int64_t *)((const char *)record + at); }

void queue_spec_init(struct queue_spec *spec, const char *queue) {
    *spec = (struct queue_spec){.queue = queue, .users = "", .groups = "", .admins = "", .default_for_groups = ""};
}

const char *queue_setting_name(int setting) { return setting >= 0 && setting < QUEUE_SETTING_COUNT ? settings[setting].word : "?"; }

int queue_setting_from_name(const char *name) {
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++)
        if (!strcmp(settings[i].word, name))
            return i;
    return -1;
}

enum queue_setting_kind queue_setting_kind(int setting) { return settings[setting].kind; }

const char *queue_policy_name(int policy) { return policy >= 0 && policy < QUEUE_POLICY_COUNT ? policies[policy] : "?"; }

/* ---- names ---- */

int queue_name_check(const char *name, struct error *err) {
    size_t length = strlen(name);
    if (!length || length > QUEUE_NAME_BYTES)
        return error_set(err, ERR_INVALID, "queue '%.32s%s': a name has 1..%d bytes, not %zu", name, length > 32 ? "..." : "",
                         QUEUE_NAME_BYTES, length);
    for (size_t i = 0; i < length; i++) {
        char ch = name[i];
        bool plain =
            (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '_' || ch == '.' || ch == '-';
        bool slash = ch == '/' && i && i + 1 < length && name[i - 1] != '/';
        if ((!plain && !slash) || (ch == '-' && (!i || name[i - 1] == '/')))
            return error_set(err, ERR_INVALID,
                             "queue '%.64s': a name has letters, digits, '_', '.', '-' (not first), and '/' between a parent and its child",
                             name);
    }
    return 0;
}

/* "ada", "lab+ml", "AD\\ada", "1001": what a user data base may hold, but nothing that ends a word of a list or of a file. */
static bool is_name(const char *name, size_t length) {
    if (!length || length > 64 || *name == '-')
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f || strchr("'\"[]{}#", name[i]))
            return false;
    return true;
}

static int check_names(const char *names, struct error *err) {
    const char *end;
    if (strlen(names) >= QUEUE_NAMES_MAX)
        return error_set(err, ERR_INVALID, "expected names of %d bytes together, got %zu: name a group instead", QUEUE_NAMES_MAX - 1,
                         strlen(names));
    for (const char *p = names; *p || p == names; p = end + (*end == ',')) {
        end = strchrnul(p, ',');
        if (!is_name(p, (size_t)(end - p)) || (*end == ',' && !end[1]))
            return error_set(err, ERR_INVALID, "expected names with a comma between two, such as ada,bob, got '%.64s'", names);
    }
    return 0;
}

bool queue_names_have(const char *names, const char *name) {
    size_t length = strlen(name);
    for (const char *p = names, *end; *p; p = end + (*end == ',')) {
        end = strchrnul(p, ',');
        if ((size_t)(end - p) == length && !memcmp(p, name, length))
            return length > 0;
    }
    return false;
}

/* ---- bounds ---- */

static int out_of_bounds(const struct setting *s, struct error *err) {
    char low[32], high[32];
    if (s->kind == QUEUE_KIND_DURATION)
        return error_set(err, ERR_INVALID, "expected a duration of %s to %s", text_duration(s->least, low, sizeof low),
                         text_duration(s->most, high, sizeof high));
    if (s->kind == QUEUE_KIND_WORD)
        return error_set(err, ERR_INVALID, "expected fair, fifo, priority or strict");
    return error_set(err, ERR_INVALID, "expected %lld..%lld", (long long)s->least, (long long)s->most);
}

static int check_number(const struct setting *s, int64_t value, struct error *err) {
    return value >= s->least && value <= s->most ? 0 : out_of_bounds(s, err);
}

static bool has_number(const struct setting *s) { return s->kind != QUEUE_KIND_NAMES && s->kind != QUEUE_KIND_TRUTH; }

static int check_setting(const struct queue_spec *spec, int i, struct error *err) {
    const struct setting *s = &settings[i];
    int rc = 0;
    if (!(spec->set & QUEUE_BIT(i)))
        return 0;
    if (s->kind == QUEUE_KIND_NAMES)
        rc = check_names(*(const char *const *)((const char *)spec + s->at), err);
    else if (has_number(s))
        rc = check_number(s, number_of(spec, s->at), err);
    return rc ? error_wrap(err, "%s", s->word) : 0;
}

static int check_masks(int64_t set, int64_t clear, int count, struct error *err) {
    if ((set | clear) < 0 || (set | clear) >= QUEUE_BIT(count) || set & clear)
        return error_set(err, ERR_INVALID, "a setting that this musterd does not know, or one set and cleared at once");
    return 0;
}

static int check_typed(const struct queue_typed *t, struct error *err) {
    int rc = text_check_name("a type of GPU", t->gpu_type, 63, err);
    if (rc || (rc = check_masks(t->set, t->clear, QUEUE_TYPED_COUNT, err)))
        return rc;
    for (int i = 0; i < QUEUE_TYPED_COUNT; i++)
        if (t->set & QUEUE_BIT(i) && (rc = check_number(&settings[i], number_of(t, typed_at[i]), err)))
            return error_wrap(err, "%s of %s", settings[i].word, t->gpu_type);
    return 0;
}

int queue_spec_check(const struct queue_spec *spec, struct error *err) {
    const struct queue_typed *typed = spec->typed.items;
    int rc = check_masks(spec->set, spec->clear, QUEUE_SETTING_COUNT, err);
    for (int i = 0; i < QUEUE_SETTING_COUNT && !rc; i++)
        rc = check_setting(spec, i, err);
    for (size_t i = 0; i < spec->typed.count && !rc; i++) {
        rc = check_typed(&typed[i], err);
        for (size_t k = 0; k < i && !rc; k++)
            if (!strcmp(typed[i].gpu_type, typed[k].gpu_type))
                rc = error_set(err, ERR_INVALID, "the type of GPU '%s' is given twice", typed[i].gpu_type);
    }
    return rc;
}

/* ---- what people write ---- */

static int parse_word(const char *text, int64_t *value, struct error *err) {
    for (int i = QUEUE_POLICY_FAIR; i < QUEUE_POLICY_COUNT; i++)
        if (!strcmp(policies[i], text)) {
            *value = i;
            return 0;
        }
    return error_set(err, ERR_INVALID, "expected fair, fifo, priority or strict, got '%.64s'", text);
}

static int parse_number(const struct setting *s, const char *text, int64_t *value, struct error *err) {
    if (s->kind == QUEUE_KIND_WORD)
        return parse_word(text, value, err);
    if (s->kind == QUEUE_KIND_COUNT)
        return text_parse_int(text, s->least, s->most, value, err);
    int rc = text_parse_duration_ms(text, value, err);
    return rc ? rc : check_number(s, *value, err);
}

static int parse_truth(const char *text, bool *value, struct error *err) {
    *value = !strcmp(text, "true") || !strcmp(text, "yes");
    if (*value || !strcmp(text, "false") || !strcmp(text, "no"))
        return 0;
    return error_set(err, ERR_INVALID, "expected true or false, got '%.64s'", text);
}

static void note(int64_t *set, int64_t *clear, int setting, bool given) {
    *(given ? set : clear) |= QUEUE_BIT(setting);
    *(given ? clear : set) &= ~QUEUE_BIT(setting);
}

int queue_spec_parse(struct queue_spec *spec, int setting, const char *text, struct arena *arena, struct error *err) {
    const struct setting *s = &settings[setting];
    bool given = strcmp(text, "none") != 0, truth = false;
    int64_t number = 0;
    int rc = !given                             ? 0
             : s->kind == QUEUE_KIND_NAMES      ? check_names(text, err)
             : s->kind == QUEUE_KIND_TRUTH      ? parse_truth(text, &truth, err)
                                                : parse_number(s, text, &number, err);
    if (rc)
        return rc;
    if (s->kind == QUEUE_KIND_NAMES)
        *(const char **)((char *)spec + s->at) = given ? arena_copy(arena, text, strlen(text)) : "";
    else if (s->kind == QUEUE_KIND_TRUTH)
        *(bool *)((char *)spec + s->at) = given = truth;   /* false is unset */
    else
        *number_in(spec, s->at) = number;
    note(&spec->set, &spec->clear, setting, given);
    return 0;
}

struct queue_typed *queue_spec_typed(struct queue_spec *spec, const char *gpu_type, struct arena *arena) {
    struct queue_typed *rows = spec->typed.items;
    for (size_t i = 0; i < spec->typed.count; i++)
        if (!strcmp(rows[i].gpu_type, gpu_type))
            return &rows[i];
    struct queue_typed *grown = arena_array(arena, spec->typed.count + 1, sizeof *grown);
    if (spec->typed.count)
        memcpy(grown, rows, spec->typed.count * sizeof *grown);
    grown[spec->typed.count].gpu_type = gpu_type;
    spec->typed.items = grown;
    return &grown[spec->typed.count++];
}

int queue_typed_parse(struct queue_typed *typed, int setting, const char *text, struct error *err) {
    bool given = strcmp(text, "none") != 0;
    int64_t number = 0;
    int rc = given ? parse_number(&settings[setting], text, &number, err) : 0;
    if (rc)
        return rc;
    *number_in(typed, typed_at[setting]) = number;
    note(&typed->set, &typed->clear, setting, given);
    return 0;
}

/* ---- what people read ---- */

/* Exact, unlike text_duration: in the largest unit that leaves nothing over. */
static const char *exact_duration(int64_t ms, char *buffer, size_t size) {
    static const struct { int64_t ms; const char *name; } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (ms % units[i].ms)
        i++;
    snprintf(buffer, size, "%lld%s", (long long)(ms / units[i].ms), units[i].name);
    return buffer;
}

static const char *number_text(const struct setting *s, int64_t value, char *buffer, size_t size) {
    if (s->kind == QUEUE_KIND_DURATION)
        return exact_duration(value, buffer, size);
    if (s->kind == QUEUE_KIND_WORD)
        return queue_policy_name((int)value);
    snprintf(buffer, size, "%lld", (long long)value);
    return buffer;
}

const char *queue_setting_text(const struct queue_spec *spec, int setting, char *buffer, size_t size) {
    const struct setting *s = &settings[setting];
    if (!(spec->set & QUEUE_BIT(setting)))
        return s->kind == QUEUE_KIND_TRUTH ? "false" : "none";
    if (s->kind == QUEUE_KIND_NAMES)
        return *(const char *const *)((const char *)spec + s->at);
    if (s->kind == QUEUE_KIND_TRUTH)
        return "true";
    return number_text(s, number_of(spec, s->at), buffer, size);
}

const char *queue_typed_text(const struct queue_typed *typed, int setting, char *buffer, size_t size) {
    if (!(typed->set & QUEUE_BIT(setting)))
        return "none";
    return number_text(&settings[setting], number_of(typed, typed_at[setting]), buffer, size);
}

/* ---- merging ---- */

static void merge_setting(struct queue_spec *onto, const struct queue_spec *change, int i) {
    const struct setting *s = &settings[i];
    struct queue_spec blank;
    queue_spec_init(&blank, "");
    bool given = change->set & QUEUE_BIT(i);
    const char *from = (const char *)(given ? change : &blank) + s->at;
    char *to = (char *)onto + s->at;
    if (s->kind == QUEUE_KIND_NAMES)
        *(const char **)to = *(const char *const *)from;
    else if (s->kind == QUEUE_KIND_TRUTH)
        *(bool *)to = given && *(const bool *)from;
    else
        *(int64_t *)to = *(const int64_t *)from;
    note(&onto->set, &onto->clear, i, given && (s->kind != QUEUE_KIND_TRUTH || *(const bool *)to));
}

static void merge_typed(struct queue_spec *onto, const struct queue_typed *change, struct arena *arena) {
    struct queue_typed *t = queue_spec_typed(onto, change->gpu_type, arena);
    for (int i = 0; i < QUEUE_TYPED_COUNT; i++)
        if ((change->set | change->clear) & QUEUE_BIT(i)) {
            bool given = change->set & QUEUE_BIT(i);
            *number_in(t, typed_at[i]) = given ? number_of(change, typed_at[i]) : 0;
            note(&t->set, &t->clear, i, given);
        }
    t->clear = 0;
}

static void drop_empty(struct rows *typed) {
    struct queue_typed *rows = typed->items;
    size_t kept = 0;
    for (size_t i = 0; i < typed->count; i++)
        if (rows[i].set)
            rows[kept++] = rows[i];
    typed->count = kept;
}

void queue_spec_merge(struct queue_spec *onto, const struct queue_spec *change, struct arena *arena) {
    const struct queue_typed *typed = change->typed.items;
    if (change->whole)
        queue_spec_init(onto, onto->queue);
    for (int i = 0; i < QUEUE_SETTING_COUNT; i++)
        if ((change->set | change->clear) & QUEUE_BIT(i))
            merge_setting(onto, change, i);
    for (size_t i = 0; i < change->typed.count; i++)
        merge_typed(onto, &typed[i], arena);
    drop_empty(&onto->typed);
    onto->clear = 0;
    onto->whole = true;
}
