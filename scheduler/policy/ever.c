/* Could a job ever run: asked before it is taken, so that what can't is refused
 * with the numbers instead of waiting for ever. */
#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "scheduler/cluster/apply.h"
#include "scheduler/cluster/queue.h"
#include "scheduler/policy/decide.h"
#include "scheduler/policy/place.h"
#include "scheduler/policy/share.h"
#include "scheduler/policy/type_limit.h"

struct sentence {
  char text[ERROR_TEXT_MAX];
  size_t used;
};
#define SAY(s, ...)                                                            \
  text_append((s)->text, sizeof(s)->text, &(s)->used, __VA_ARGS__)

static const char *plural(int64_t n) { return n == 1 ? "" : "s"; }

/* Of an elastic one, its least. */
static struct demand demand_of_submission(const struct job_submission *s,
                                          int32_t queue, int32_t filter) {
  struct demand d = {
      .queue = queue,
      .priority = (int32_t)s->priority,
      .nodes = (int32_t)s->nodes,
      .gpus = (int32_t)s->gpus,
      .gpus_min = (int32_t)(s->gpus_min ? s->gpus_min : s->gpus),
      .ranks = s->ranks ? (int32_t)s->ranks : 1,
      .cpus_per_rank = s->cpus_per_rank ? (int32_t)s->cpus_per_rank : 1,
      .memory_mib = s->memory_mib,
      .launcher = (enum job_launcher)s->launcher,
      .topology = (enum topology_level)s->topology,
      .filter = filter,
      .preemptible = !s->not_preemptible,
      .exclusive = s->exclusive,
      .compact = s->compact};
  return place_sized(&d, d.gpus_min);
}

/* ---- the sentences ---- */

static int no_type_ever(const struct room *r, const struct demand *d,
                        struct error *err) {
  int32_t queue = d->queue, type = 0;
  if (!type_limit_barred(r, d->queue, d->gpus))
    return error_set(err, ERR_NEVER_FITS,
                     "%d GPUs that can't be taken back: no type of GPU that it "
                     "may use is guaranteed to queue %s for so many; submit it "
                     "as preemptible",
                     d->gpus, r->c->queues[queue].name);
  type_limit_name(r, d->queue, type_limit_barred(r, d->queue, d->gpus), &queue,
                  &type);
  return error_set(
      err, ERR_NEVER_FITS,
      "%d GPUs: queue %s may use at most %lld of type %s (its limit), and "
      "those of other types "
      "don't hold them",
      d->gpus, r->c->queues[queue].name,
      (long long)queue_quota_of_type(&r->c->queues[queue], type).limit,
      r->c->gpu_types[type]);
}

/* What is asked for: "8 GPUs and 8 ranks of 4 cpus on 2 nodes within one rack,
 * 65536 MiB a node". */
static void say_asked(struct sentence *s, const struct demand *d) {
  SAY(s, "%d GPU%s and %d rank%s of %d cpu%s ", d->gpus, plural(d->gpus),
      d->ranks, plural(d->ranks), d->cpus_per_rank, plural(d->cpus_per_rank));
  if (d->nodes)
    SAY(s, "on %d %snode%s", d->nodes, d->exclusive ? "whole " : "",
        plural(d->nodes));
  else
    SAY(s, d->exclusive ? "on whole nodes" : "on as few nodes as fit");
  if (d->topology != LEVEL_ANY)
    SAY(s, " within one %s", topology_level_name((int)d->topology));
  SAY(s, ", %lld MiB a node", (long long)d->memory_mib);
}

/* How many nodes each part of the wish rules out, of those that the parts
 * before it have left. */
static void say_ruled_out(struct sentence *s, const struct cluster *c,
                          const struct node_wish *w) {
  static const char *const texts[WISH_PARTS] = {
      [WISH_GPU_TYPE] = "without GPUs of type",
      [WISH_FEATURES] = "without all of",
      [WISH_NODELIST] = "not among",
      [WISH_EXCLUDE] = "excluded by"};
  const char *asked[WISH_PARTS] = {NULL, w->gpu_type, w->features, w->nodelist,
                                   w->exclude};
  int32_t out[WISH_PARTS] = {0};
  for (int32_t i = 0; i < c->node_count; i++)
    out[node_wish_misses(c, w, i)]++;
  for (int part = WISH_GPU_TYPE; part < WISH_PARTS; part++)
    if (out[part])
      SAY(s, ", %d %s %.64s", out[part], texts[part], asked[part]);
  if (out[WISH_NONE] < c->node_count)
    SAY(s, ", %d %s left", out[WISH_NONE], out[WISH_NONE] == 1 ? "is" : "are");
}

struct largest {
  int32_t gpus, cpus, least_gpus;
  int64_t memory_mib;
};

static struct largest largest_of(const struct cluster *c, int32_t filter) {
  struct largest l = {.least_gpus = INT32_MAX};
  for (int32_t i = 0; i < c->node_count; i++) {
    const struct node *n = &c->nodes[i];
    int32_t gpus = c->shapes[n->shape].count;
    if (!node_filter_passes(c, filter, i))
      continue;
    l.gpus = gpus > l.gpus ? gpus : l.gpus;
    l.least_gpus = gpus < l.least_gpus ? gpus : l.least_gpus;
    l.cpus = n->cpus > l.cpus ? n->cpus : l.cpus;
    l.memory_mib = n->memory_mib > l.memory_mib ? n->memory_mib : l.memory_mib;
  }
  return l;
}

static int no_place_ever(const struct cluster *c, const struct demand *d,
                         struct error *err) {
  struct sentence s = {.used = 0};
  struct node_wish wish = node_filter_wish(c, d->filter);
  struct largest l = largest_of(c, d->filter);
  say_asked(&s, d);
  SAY(&s, ": no place for that even when all is free; there are %d nodes",
      c->node_count);
  say_ruled_out(&s, c, &wish);
  if (l.least_gpus != INT32_MAX)
    SAY(&s, ", the largest with %d GPUs, %d cpus, %lld MiB", l.gpus, l.cpus,
        (long long)l.memory_mib);
  if (d->exclusive && l.gpus > l.least_gpus)
    SAY(&s, "; whole nodes have %d to %d GPUs", l.least_gpus, l.gpus);
  return error_set(err, ERR_NEVER_FITS, "%s", s.text);
}

/* ---- asking ---- */

static int check_place(struct cluster *c, const struct demand *d,
                       struct error *err) {
  struct arena arena = {0};
  struct room room;
  struct placement unused;
  room_open(&room, c, &arena);
  room_vary(&room, &room, ROOM_EMPTY | ROOM_WITHOUT_KEEPING | ROOM_ALL_HEALTHY);
  bool fits = place_gang(&room, d, &unused), of_other_types = false;
  if (!fits && type_barred(&room, d)) {
    room.any_type = true;
    of_other_types = place_gang(&room, d, &unused);
    room.any_type = false;
  }
  int rc = fits             ? 0
           : of_other_types ? no_type_ever(&room, d, err)
                            : no_place_ever(c, d, err);
  arena_release(&arena);
  return rc;
}

int policy_can_ever_fit(struct cluster *c, const struct job_submission *s,
                        int32_t queue, struct error *err) {
  struct node_wish wish = submission_wish(s);
  struct demand d = demand_of_submission(s, queue, ALL_NODES);
  int64_t limit = share_limit(c, queue), registered = cluster_gpu_count(c);
  int rc;
  if (!c->node_count)
    return 0;
  if ((rc = node_wish_check(c, &wish, err)))
    return rc;
  if (d.gpus > limit)
    return error_set(err, ERR_NEVER_FITS,
                     "%d GPUs: queue %s may use at most %lld (its limit)",
                     d.gpus, c->queues[queue].name, (long long)limit);
  if (!d.preemptible && d.gpus > share_guarantee(c, queue))
    return error_set(err, ERR_NEVER_FITS,
                     "%d GPUs that can't be taken back: queue %s is guaranteed "
                     "%lld; submit it as preemptible",
                     d.gpus, c->queues[queue].name,
                     (long long)share_guarantee(c, queue));
  if (d.gpus > registered)
    return error_set(err, ERR_NEVER_FITS, "%d GPUs: the cluster has %lld",
                     d.gpus, (long long)registered);
  if ((rc = node_filter_enter(c, &wish, &d.filter, err)))
    return rc;
  rc = check_place(c, &d, err);
  node_filter_leave(c, d.filter);
  return rc;
}

/* ---- whole nodes ---- */

static int64_t rounded_up(int64_t gpus, int64_t size) {
  return (gpus + size - 1) / size * size;
}

int policy_take_whole_nodes(const struct cluster *c, struct job_submission *s,
                            struct error *err) {
  struct node_wish wish = submission_wish(s);
  int32_t least = INT32_MAX, most = 0;
  for (int32_t i = 0; i < c->node_count; i++) {
    int32_t size = c->shapes[c->nodes[i].shape].count;
    if (node_wish_misses(c, &wish, i) != WISH_NONE)
      continue;
    least = size < least ? size : least;
    most = size > most ? size : most;
  }
  if (!s->exclusive || !most)
    return 0;
  if (least < most && least && !s->gpus)
    return error_set(err, ERR_INVALID,
                     "exclusive: the nodes that it may use have %d to %d GPUs: "
                     "say with --gpus how many it takes in "
                     "all, or name a --gpu-type",
                     least, most);
  if (least < most)
    return 0;
  int64_t gpus = s->nodes && s->nodes * most >= s->gpus
                     ? s->nodes * most
                     : rounded_up(s->gpus ? s->gpus : 1, most);
  s->gpus_min = s->gpus_min ? rounded_up(s->gpus_min, most) : 0;
  s->gpus = gpus;
  return 0;
}
