#include "common/queue_file.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "common/yaml_file.h"

enum { TYPES_MAX = 15 };

struct queue_file {
    struct yaml_file yaml;
    struct queue_spec *specs;
    size_t count;
};

static const yaml_node_t *node(struct queue_file *f, int index) { return yaml_document_get_node(&f->yaml.document, index); }

static size_t pairs_of(const yaml_node_t *map) { return (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start); }

/* Neither twice in one map, nor unknown: `known` names what it could have been. */
static int check_twice(struct queue_file *f, const yaml_node_t *map, size_t at, const char *name) {
    for (size_t i = 0; i < at; i++) {
        const yaml_node_t *other = node(f, map->data.mapping.pairs.start[i].key);
        if (other->type == YAML_SCALAR_NODE && !strcmp((const char *)other->data.scalar.value, name))
            return yaml_fail_at(&f->yaml, node(f, map->data.mapping.pairs.start[at].key)->start_mark, "%.64s: given twice", name);
    }
    return 0;
}

static int fail_unknown(struct queue_file *f, const yaml_node_t *key, const char *name, int settings) {
    int least = (int)strlen(name) / 3 + 2, nearest = -1;
    for (int i = 0; i < settings; i++) {
        int distance = text_distance(name, queue_setting_name(i));
        if (distance < least) {
            least = distance;
            nearest = i;
        }
    }
    if (nearest >= 0)
        return yaml_fail_at(&f->yaml, key->start_mark, "%.64s: no such setting (did you mean %s?)", name, queue_setting_name(nearest));
    return yaml_fail_at(&f->yaml, key->start_mark, "%.64s: no such setting", name);
}

/* ---- a value ---- */

/* [ada, bob] is "ada,bob". */
static const char *list_text(struct queue_file *f, const char *name, const yaml_node_t *value) {
    size_t used = 0;
    char *joined = arena_alloc(f->yaml.arena, QUEUE_NAMES_MAX + 1);
    for (const yaml_node_item_t *item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
        const char *text = yaml_text_of(&f->yaml, name, "a name", node(f, *item));
        if (!text)
            return NULL;
        text_append(joined, QUEUE_NAMES_MAX + 1, &used, "%s%s", used ? "," : "", text);
    }
    return used ? joined : "none";
}

static const char *value_text(struct queue_file *f, int setting, const yaml_node_t *value) {
    static const char *const expected[] = {[QUEUE_KIND_COUNT] = "an integer", [QUEUE_KIND_WORD] = "fair, fifo, priority or strict",
                                           [QUEUE_KIND_DURATION] = "a duration such as 90s, 10m or 2h30m",
                                           [QUEUE_KIND_NAMES] = "a name or a list of names", [QUEUE_KIND_TRUTH] = "true or false"};
    if (value->type == YAML_SEQUENCE_NODE && queue_setting_kind(setting) == QUEUE_KIND_NAMES)
        return list_text(f, queue_setting_name(setting), value);
    return yaml_text_of(&f->yaml, queue_setting_name(setting), expected[queue_setting_kind(setting)], value);
}

static int take_value(struct queue_file *f, int setting, const yaml_node_t *value, struct queue_spec *spec, struct queue_typed *typed) {
    struct error why;
    const char *text = value_text(f, setting, value);
    if (!text)
        return ERR_INVALID;
    int rc = typed ? queue_typed_parse(typed, setting, text, &why) : queue_spec_parse(spec, setting, text, f->yaml.arena, &why);
    return rc ? yaml_fail_at(&f->yaml, value->start_mark, "%s: %s", queue_setting_name(setting), why.text) : 0;
}

/* ---- a queue ---- */

static int read_settings(struct queue_file *f, const yaml_node_t *map, struct queue_spec *spec, struct queue_typed *typed);

/* gpu_types: {H100: {limit: 8}} */
static int read_types(struct queue_file *f, const yaml_node_t *map, struct queue_spec *spec) {
    int rc = 0;
    if (map->type != YAML_MAPPING_NODE)
        return yaml_fail_at(&f->yaml, map->start_mark, "gpu_types: expected 'TYPE: {limit: 8}', got %s", yaml_kind_of(map));
    if (pairs_of(map) > TYPES_MAX)
        return yaml_fail_at(&f->yaml, map->start_mark, "gpu_types: %zu of them; at most %d are told apart", pairs_of(map), TYPES_MAX);
    for (size_t i = 0; i < pairs_of(map) && !rc; i++) {
        const yaml_node_t *key = node(f, map->data.mapping.pairs.start[i].key), *value = node(f, map->data.mapping.pairs.start[i].value);
        const char *type = yaml_text_of(&f->yaml, "gpu_types", "the name of a type of GPU", key);
        if (!type)
            return ERR_INVALID;
        if (!(rc = check_twice(f, map, i, type)))
            rc = read_settings(f, value, spec, queue_spec_typed(spec, type, f->yaml.arena));
    }
    return rc;
}

static int read_settings(struct queue_file *f, const yaml_node_t *map, struct queue_spec *spec, struct queue_typed *typed) {
    int settings = typed ? QUEUE_TYPED_COUNT : QUEUE_SETTING_COUNT, rc = 0;
    if (yaml_is_nothing(map))
        return 0;   /* a queue of which nothing is said */
    if (map->type != YAML_MAPPING_NODE)
        return yaml_fail_at(&f->yaml, map->start_mark, "%s: expected settings such as 'limit: 8'", typed ? typed->gpu_type : spec->queue);
    for (size_t i = 0; i < pairs_of(map) && !rc; i++) {
        const yaml_node_t *key = node(f, map->data.mapping.pairs.start[i].key), *value = node(f, map->data.mapping.pairs.start[i].value);
        const char *name = yaml_text_of(&f->yaml, "setting", "a name", key);
        int setting = name ? queue_setting_from_name(name) : -1;
        if (!name || (rc = check_twice(f, map, i, name)))
            return ERR_INVALID;
        if (!typed && !strcmp(name, "gpu_types"))
            rc = read_types(f, value, spec);
        else if (setting < 0 || setting >= settings)
            rc = fail_unknown(f, key, name, settings);
        else
            rc = take_value(f, setting, value, spec, typed);
    }
    return rc;
}

static int read_queues(struct queue_file *f, const yaml_node_t *map) {
    struct error why;
    int rc = 0;
    if (map->type != YAML_MAPPING_NODE)
        return yaml_fail_at(&f->yaml, map->start_mark, "queues: expected 'NAME: {guarantee: 8}', got %s", yaml_kind_of(map));
    if (pairs_of(map) > QUEUE_SPECS_MAX)
        return yaml_fail_at(&f->yaml, map->start_mark, "queues: %zu of them; at most %d are allowed", pairs_of(map), QUEUE_SPECS_MAX);
    f->specs = arena_array(f->yaml.arena, pairs_of(map), sizeof *f->specs);
    for (size_t i = 0; i < pairs_of(map) && !rc; i++) {
        const yaml_node_t *key = node(f, map->data.mapping.pairs.start[i].key), *value = node(f, map->data.mapping.pairs.start[i].value);
        const char *name = yaml_text_of(&f->yaml, "queues", "the name of a queue", key);
        if (!name)
            return ERR_INVALID;
        if (queue_name_check(name, &why))
            return yaml_fail_at(&f->yaml, key->start_mark, "%s", why.text);
        struct queue_spec *spec = &f->specs[f->count++];
        queue_spec_init(spec, name);
        spec->whole = true;
        if (!(rc = check_twice(f, map, i, name)))
            rc = read_settings(f, value, spec, NULL);
    }
    return rc;
}

/* Types that were named and given nothing are left out; what remains is what the daemon would accept. */
static int finish(struct queue_file *f, const yaml_node_t *root) {
    for (size_t i = 0; i < f->count; i++) {
        struct queue_spec *spec = &f->specs[i];
        struct queue_typed *typed = spec->typed.items;
        struct error why;
        size_t kept = 0;
        for (size_t k = 0; k < spec->typed.count; k++)
            if (typed[k].set)
                typed[kept++] = typed[k];
        spec->typed.count = kept;
        if (queue_spec_check(spec, &why))
            return yaml_fail_at(&f->yaml, root->start_mark, "%s: %s", spec->queue, why.text);
    }
    return 0;
}

int queue_file_read(const char *path, struct rows *specs, struct arena *arena, struct error *err) {
    struct queue_file f = {.count = 0};
    const yaml_node_t *root;
    int rc = yaml_file_open(&f.yaml, path, "queues", "one file is one tree of queues", &root, arena, err);
    if (rc)
        return rc;
    const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    const yaml_node_t *key = pairs_of(root) ? node(&f, pair->key) : root;
    if (pairs_of(root) != 1 || key->type != YAML_SCALAR_NODE || strcmp((const char *)key->data.scalar.value, "queues"))
        rc = yaml_fail_at(&f.yaml, key->start_mark, "expected one member, 'queues: ...'");
    else if (!(rc = read_queues(&f, node(&f, pair->value))))
        rc = finish(&f, root);
    yaml_file_close(&f.yaml);
    *specs = (struct rows){f.count, f.specs};
    return rc;
}
