/* Who may send what: one table, message x role, default deny. Whose job it is, is asked by authorise_job; what somebody may do in a queue,
 * by authorise_queue: rights there come from the lists of the queues on the way up. */
#ifndef SCHEDULER_AUTHORISE_H
#define SCHEDULER_AUTHORISE_H

#include "common/channel.h"
#include "scheduler/cluster/cluster.h"
#include "scheduler/users.h"

/* Bits: root on the scheduler's host is a user, an admin, and may run a node. */
enum role { ROLE_USER = 1, ROLE_ADMIN = 2, ROLE_NODE = 4 };

/* admins: user names or uids separated by commas, beside root and the daemon's own user. */
unsigned authorise_roles(const struct peer *peer, const char *admins);
int authorise_message(enum message_type type, const struct peer *peer, unsigned roles, struct error *err);
int authorise_job(int64_t job, uid_t owner, const struct peer *peer, unsigned roles, struct error *err);   /* its owner, or an admin */

/* SUBMIT: users and groups of the queue and of each above it, and their admins. JOBS: to act on the jobs of others there: its admins and
 * those above. CHANGE: its settings, name and existence: the admins above it, never its own. Admins of the cluster may all. */
enum queue_right { QUEUE_SUBMIT, QUEUE_JOBS, QUEUE_CHANGE };
/* `queue`: by name, for it may not be there yet. */
int authorise_queue(const struct cluster *c, const char *queue, enum queue_right right, const struct known_user *user, unsigned roles,
                    struct error *err);
unsigned authorise_allowed(enum message_type type);   /* the table itself, for its test */
bool authorise_same_user(const struct peer *a, const struct peer *b);   /* or the same node: whom a share of something is counted for */

#endif
