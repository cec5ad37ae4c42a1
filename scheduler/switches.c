#include "scheduler/switches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/inventory.h"
#include "common/text.h"
#include "common/yaml_file.h"
#include "scheduler/cluster/cluster.h"

enum { RACK_NAME_MAX = 127 };

struct reading {
  struct yaml_file yaml;
  struct switches *s;
  size_t capacity;
  const char *rack; /* whose nodes are read */
};

static const yaml_node_t *node_at(struct reading *r, int index) {
  return yaml_document_get_node(&r->yaml.document, index);
}

static int name_of(struct reading *r, const char *what,
                   const yaml_node_t *value, const char **name) {
  struct error why;
  if (!(*name = yaml_text_of(&r->yaml, what, "a name", value)))
    return ERR_INVALID;
  return text_check_node_name(what, *name, 60, &why)
             ? yaml_fail_at(&r->yaml, value->start_mark, "%s", why.text)
             : 0;
}

/* ---- nodes ---- */

static int add_node(struct reading *r, const yaml_node_t *at,
                    const char *name) {
  struct switches *s = r->s;
  struct error why;
  if (text_check_node_name("a node's name", name, NODE_NAME_MAX - 1, &why))
    return yaml_fail_at(&r->yaml, at->start_mark, "%s: %s", r->rack, why.text);
  if (s->count == CLUSTER_NODES_MAX)
    return yaml_fail_at(&r->yaml, at->start_mark,
                        "%s: more than %d nodes in all", r->rack,
                        CLUSTER_NODES_MAX);
  if (s->count == r->capacity) {
    size_t capacity = r->capacity ? 2 * r->capacity : 64;
    struct switch_row *grown = arena_array(&s->arena, capacity, sizeof *grown);
    if (s->count)
      memcpy(grown, s->rows, s->count * sizeof *grown);
    s->rows = grown;
    r->capacity = capacity;
  }
  s->rows[s->count++] =
      (struct switch_row){arena_copy(&s->arena, name, strlen(name)), r->rack};
  return 0;
}

/* "node7", or "node[1-16]" and "gpu[001-128]b": all of them, with as many
 * digits as the first number has. */
static int add_nodes(struct reading *r, const yaml_node_t *value) {
  const char *text = yaml_text_of(&r->yaml, r->rack,
                                  "a node, such as node7 or node[1-16]", value);
  const char *open = text ? strchr(text, '[') : NULL;
  long long first, last;
  int end = 0, rc = 0;
  if (!text)
    return ERR_INVALID;
  if (!open)
    return add_node(r, value, text);
  if (sscanf(open, "[%lld-%lld]%n", &first, &last, &end) != 2 || !end ||
      first < 0 || last < first || last - first >= CLUSTER_NODES_MAX)
    return yaml_fail_at(&r->yaml, value->start_mark,
                        "%s: expected a range such as node[1-16], got '%.64s'",
                        r->rack, text);
  int digits = (int)strcspn(open + 1, "-");
  for (long long n = first; n <= last && !rc; n++) {
    char name[2 * NODE_NAME_MAX];
    snprintf(name, sizeof name, "%.*s%0*lld%.32s",
             (int)(open - text) < 64 ? (int)(open - text) : 64, text,
             digits < 20 ? digits : 20, n, open + end);
    rc = add_node(r, value, name);
  }
  return rc;
}

static int read_nodes(struct reading *r, const yaml_node_t *value) {
  int rc = 0;
  if (yaml_is_nothing(value))
    return 0;
  if (value->type != YAML_SEQUENCE_NODE)
    return add_nodes(r, value);
  for (yaml_node_item_t *i = value->data.sequence.items.start;
       i < value->data.sequence.items.top && !rc; i++)
    rc = add_nodes(r, node_at(r, *i));
  return rc;
}

/* ---- racks and pods ---- */

static int expect_map(struct reading *r, const char *what, const char *example,
                      const yaml_node_t *value) {
  if (value->type == YAML_MAPPING_NODE)
    return 0;
  return yaml_fail_at(&r->yaml, value->start_mark,
                      "%s: expected a map such as '%s', got %s", what, example,
                      yaml_kind_of(value));
}

/* pod: NULL: of none. */
static int read_racks(struct reading *r, const char *pod,
                      const yaml_node_t *map) {
  int rc = expect_map(r, pod ? pod : "racks", "rack0: [node0, node1]", map);
  for (size_t i = 0;
       !rc && map->data.mapping.pairs.start + i < map->data.mapping.pairs.top;
       i++) {
    const yaml_node_pair_t *pair = &map->data.mapping.pairs.start[i];
    const char *name;
    char whole[RACK_NAME_MAX + 1];
    if ((rc = name_of(r, "a rack's name", node_at(r, pair->key), &name)))
      break;
    snprintf(whole, sizeof whole, "%s%s%s", pod ? pod : "", pod ? "/" : "",
             name);
    r->rack = arena_copy(&r->s->arena, whole, strlen(whole));
    rc = read_nodes(r, node_at(r, pair->value));
  }
  return rc;
}

static int read_pods(struct reading *r, const yaml_node_t *map) {
  int rc = expect_map(r, "pods", "pod0: {rack0: [node0, node1]}", map);
  for (size_t i = 0;
       !rc && map->data.mapping.pairs.start + i < map->data.mapping.pairs.top;
       i++) {
    const yaml_node_pair_t *pair = &map->data.mapping.pairs.start[i];
    const char *name;
    if (!(rc = name_of(r, "a pod's name", node_at(r, pair->key), &name)))
      rc = read_racks(r, name, node_at(r, pair->value));
  }
  return rc;
}

static int by_node(const void *a, const void *b) {
  return strcmp(((const struct switch_row *)a)->node,
                ((const struct switch_row *)b)->node);
}

static int check_once(struct reading *r, const yaml_node_t *root) {
  struct switches *s = r->s;
  if (s->count)
    qsort(s->rows, s->count, sizeof *s->rows, by_node);
  for (size_t i = 1; i < s->count; i++)
    if (!strcmp(s->rows[i].node, s->rows[i - 1].node))
      return yaml_fail_at(&r->yaml, root->start_mark,
                          "node %s stands in rack %s and in rack %s",
                          s->rows[i].node, s->rows[i - 1].rack,
                          s->rows[i].rack);
  return 0;
}

static int read_all(struct reading *r, const yaml_node_t *root) {
  int rc = 0;
  for (size_t i = 0;
       !rc && root->data.mapping.pairs.start + i < root->data.mapping.pairs.top;
       i++) {
    const yaml_node_pair_t *pair = &root->data.mapping.pairs.start[i];
    const yaml_node_t *key = node_at(r, pair->key);
    const char *member = yaml_text_of(&r->yaml, "member", "pods or racks", key);
    if (!member)
      return ERR_INVALID;
    if (!strcmp(member, "pods"))
      rc = read_pods(r, node_at(r, pair->value));
    else if (!strcmp(member, "racks"))
      rc = read_racks(r, NULL, node_at(r, pair->value));
    else
      rc =
          yaml_fail_at(&r->yaml, key->start_mark,
                       "%.64s: no such member: expected pods or racks", member);
  }
  return rc ? rc : check_once(r, root);
}

int switches_read(struct switches *s, const char *path, struct error *err) {
  struct reading r = {.s = s};
  const yaml_node_t *root;
  int rc = yaml_file_open(&r.yaml, path, "pods", "one file is one network",
                          &root, &s->arena, err);
  if (rc)
    return rc;
  rc = read_all(&r, root);
  yaml_file_close(&r.yaml);
  return rc;
}

void switches_release(struct switches *s) {
  arena_release(&s->arena);
  *s = (struct switches){0};
}

const char *switches_rack_of(const struct switches *s, const char *node) {
  const struct switch_row *row =
      s->count ? bsearch(&(struct switch_row){.node = node}, s->rows, s->count,
                         sizeof *s->rows, by_node)
               : NULL;
  return row ? row->rack : NULL;
}
