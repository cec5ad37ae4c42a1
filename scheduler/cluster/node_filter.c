#include "scheduler/cluster/node_filter.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xmalloc.h"
#include "scheduler/cluster/cluster.h"

enum { FILTERS_KEPT = 256 }; /* so many are kept though nobody uses them */

/* ---- lists with a comma between two ---- */

/* The next item: *length bytes; NULL at the end. *at is moved behind it. */
static const char *next_item(const char **at, size_t *length) {
  const char *item = *at;
  if (!*item)
    return NULL;
  *length = strcspn(item, ",");
  *at = item + *length + (item[*length] == ',');
  return item;
}

static bool list_has(const char *list, const char *name, size_t length) {
  const char *item;
  size_t n;
  while ((item = next_item(&list, &n)))
    if (n == length && !memcmp(item, name, n))
      return true;
  return false;
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}
static bool is_of_word(char c) {
  return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9');
}

static bool begins_with(const char *text, const char *with, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (!text[i] || lower(text[i]) != lower(with[i]))
      return false;
  return true;
}

bool gpu_type_matches(const char *name, const char *asked, size_t length) {
  for (const char *p = name; *p; p++)
    if ((p == name || !is_of_word(p[-1])) && begins_with(p, asked, length) &&
        !is_of_word(p[length]))
      return true;
  return false;
}

/* ---- one node ---- */

static bool has_type(const char *name, const char *asked) {
  const char *item;
  size_t n;
  while ((item = next_item(&asked, &n)))
    if (gpu_type_matches(name, item, n))
      return true;
  return false;
}

static bool has_features(const char *has, const char *asked) {
  const char *item;
  size_t n;
  while ((item = next_item(&asked, &n)))
    if (!list_has(has, item, n))
      return false;
  return true;
}

enum wish_part node_wish_misses(const struct cluster *c,
                                const struct node_wish *wish, int32_t node) {
  const struct node *n = &c->nodes[node];
  if (*wish->gpu_type && !has_type(c->shapes[n->shape].type, wish->gpu_type))
    return WISH_GPU_TYPE;
  if (!has_features(n->features, wish->features))
    return WISH_FEATURES;
  if (*wish->nodelist && !list_has(wish->nodelist, n->name, strlen(n->name)))
    return WISH_NODELIST;
  return list_has(wish->exclude, n->name, strlen(n->name)) ? WISH_EXCLUDE
                                                           : WISH_NONE;
}

/* ---- the table ---- */

static bool asks_nothing(const struct node_wish *w) {
  return !*w->gpu_type && !*w->features && !*w->nodelist && !*w->exclude;
}

static uint64_t hash_text(uint64_t h, const char *s) {
  for (; *s; s++)
    h = (h ^ (unsigned char)*s) * 1099511628211u;
  return (h ^ ',') * 1099511628211u;
}

static uint64_t hash_wish(const struct node_wish *w) {
  return hash_text(
      hash_text(
          hash_text(hash_text(14695981039346656037u, w->gpu_type), w->features),
          w->nodelist),
      w->exclude);
}

static bool wish_equal(const struct node_wish *a, const struct node_wish *b) {
  return !strcmp(a->gpu_type, b->gpu_type) &&
         !strcmp(a->features, b->features) &&
         !strcmp(a->nodelist, b->nodelist) && !strcmp(a->exclude, b->exclude);
}

static void reach(struct node_filter *f, int32_t node) {
  int32_t words = node / 64 + 1;
  if (words <= f->words)
    return;
  f->nodes = xrealloc(f->nodes, (size_t)words * sizeof *f->nodes);
  memset(f->nodes + f->words, 0, (size_t)(words - f->words) * sizeof *f->nodes);
  f->words = words;
}

static void look_at(const struct cluster *c, struct node_filter *f,
                    int32_t node) {
  uint64_t bit = UINT64_C(1) << node % 64;
  reach(f, node);
  f->types = 0;
  f->nodes[node / 64] &= ~bit;
  if (node_wish_misses(c, &f->wish, node) == WISH_NONE)
    f->nodes[node / 64] |= bit;
}

static void drop(struct node_filter *f) {
  free((char *)f->wish.gpu_type);
  free((char *)f->wish.features);
  free((char *)f->wish.nodelist);
  free((char *)f->wish.exclude);
  free(f->nodes);
  *f = (struct node_filter){0};
}

/* A place for a new one; -1: the table is full. */
static int32_t free_place(struct cluster *c) {
  for (int32_t i = 1; i < c->filter_count && c->filter_count > FILTERS_KEPT;
       i++)
    if (!c->filters[i].uses) {
      drop(&c->filters[i]);
      return i;
    }
  if (c->filter_count == NODE_FILTERS_MAX)
    return -1;
  size_t capacity = (size_t)c->filter_capacity;
  c->filters = xgrow(c->filters, &capacity, (size_t)c->filter_count + 1,
                     sizeof *c->filters);
  c->filter_capacity = (int32_t)capacity;
  c->filters[c->filter_count] = (struct node_filter){0};
  return c->filter_count++;
}

int node_filter_enter(struct cluster *c, const struct node_wish *wish,
                      int32_t *filter, struct error *err) {
  uint64_t hash = hash_wish(wish);
  *filter = ALL_NODES;
  if (asks_nothing(wish))
    return 0;
  if (!c->filter_count)
    free_place(c); /* ALL_NODES */
  int32_t at = 1;
  while (at < c->filter_count && !(c->filters[at].hash == hash &&
                                   wish_equal(&c->filters[at].wish, wish)))
    at++;
  if (at == c->filter_count) {
    if ((at = free_place(c)) < 0)
      return error_set(err, ERR_INVALID,
                       "jobs in the queue name nodes in %d different ways "
                       "already: wait for some to end",
                       NODE_FILTERS_MAX - 1);
    struct node_filter *f = &c->filters[at];
    f->hash = hash;
    f->wish =
        (struct node_wish){xstrdup(wish->gpu_type), xstrdup(wish->features),
                           xstrdup(wish->nodelist), xstrdup(wish->exclude)};
    for (int32_t n = 0; n < c->node_count; n++)
      look_at(c, f, n);
  }
  c->filters[at].uses++;
  *filter = at;
  return 0;
}

void node_filter_leave(struct cluster *c, int32_t filter) {
  if (filter != ALL_NODES)
    c->filters[filter].uses--;
}

struct node_wish node_filter_wish(const struct cluster *c, int32_t filter) {
  return filter == ALL_NODES ? (struct node_wish){"", "", "", ""}
                             : c->filters[filter].wish;
}

void node_filters_update(struct cluster *c, int32_t node) {
  for (int32_t i = 1; i < c->filter_count; i++)
    look_at(c, &c->filters[i], node);
}

void node_filters_release(struct cluster *c) {
  for (int32_t i = 1; i < c->filter_count; i++)
    drop(&c->filters[i]);
  free(c->filters);
}

const uint64_t *node_filter_bits(const struct cluster *c, int32_t filter) {
  return filter == ALL_NODES ? NULL : c->filters[filter].nodes;
}

bool node_filter_passes(const struct cluster *c, int32_t filter, int32_t node) {
  const uint64_t *bits = node_filter_bits(c, filter);
  return !bits || bits[node / 64] >> node % 64 & 1;
}

static uint32_t types_of_nodes(const struct cluster *c,
                               const struct node_filter *f) {
  uint32_t types = 0;
  for (int32_t w = 0; w < f->words; w++)
    for (uint64_t left = f->nodes[w]; left; left &= left - 1) {
      int32_t node = w * 64 + __builtin_ctzll(left);
      const struct gpu_shape *shape = &c->shapes[c->nodes[node].shape];
      types |= (uint32_t)(shape->count > 0) << shape->gpu_type;
    }
  return types;
}

uint32_t node_filter_types(const struct cluster *c, int32_t filter) {
  uint32_t all = 0;
  if (filter != ALL_NODES) {
    struct node_filter *f = &c->filters[filter];
    return f->types = f->types ? f->types : types_of_nodes(c, f);
  }
  for (int32_t t = 0; t < c->gpu_type_count; t++)
    all |= (uint32_t)(c->index.gpus_by_type[t] > 0) << t;
  return all;
}

/* ---- names that nobody has ---- */

static bool type_is_known(const struct cluster *c, const char *asked,
                          size_t length) {
  for (int32_t i = 0; i < c->node_count; i++)
    if (gpu_type_matches(c->shapes[c->nodes[i].shape].type, asked, length))
      return true;
  return false;
}

static bool node_is_known(const struct cluster *c, const char *name,
                          size_t length) {
  for (int32_t i = 0; i < c->node_count; i++)
    if (strlen(c->nodes[i].name) == length &&
        !memcmp(c->nodes[i].name, name, length))
      return true;
  return false;
}

static int unknown_type(const struct cluster *c, const char *asked,
                        size_t length, struct error *err) {
  char list[400] = "";
  size_t used = 0;
  for (int32_t t = 1; t < c->gpu_type_count; t++)
    text_append(list, sizeof list, &used, "%s%s", used ? ", " : "",
                c->gpu_types[t]);
  return error_set(err, ERR_NEVER_FITS,
                   "gpu_type: no node has GPUs of type '%.*s'; there are: %s",
                   (int)length, asked, used ? list : "none");
}

static int check_nodes(const struct cluster *c, const char *member,
                       const char *list, enum error_code code,
                       struct error *err) {
  const char *item;
  size_t n;
  while ((item = next_item(&list, &n)))
    if (!node_is_known(c, item, n))
      return error_set(err, code,
                       "%s: no node '%.*s' is registered; `muster nodes` lists "
                       "the %d that are",
                       member, (int)n, item, c->node_count);
  return 0;
}

int node_wish_check(const struct cluster *c, const struct node_wish *wish,
                    struct error *err) {
  const char *types = wish->gpu_type, *item;
  size_t n;
  while ((item = next_item(&types, &n)))
    if (!type_is_known(c, item, n))
      return unknown_type(c, item, n, err);
  int rc = check_nodes(c, "nodelist", wish->nodelist, ERR_NEVER_FITS, err);
  return rc ? rc : check_nodes(c, "exclude", wish->exclude, ERR_NOT_FOUND, err);
}
