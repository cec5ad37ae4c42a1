#include "scheduler/authorise.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A message without a row is refused. */
static const unsigned allowed[MESSAGE_TYPE_COUNT] = {
    [MESSAGE_SUBMIT] = ROLE_USER,
    [MESSAGE_TEST_SUBMIT] = ROLE_USER,
    [MESSAGE_JOB_ACTION] = ROLE_USER,
    [MESSAGE_VIEW] = ROLE_USER,
    [MESSAGE_LOG_READ] = ROLE_USER,
    [MESSAGE_TERMINAL] = ROLE_USER,
    [MESSAGE_NODE_ACTION] = ROLE_ADMIN,
    [MESSAGE_QUOTA_SET] = ROLE_USER,      /* and authorise_queue */
    [MESSAGE_QUOTA_DELETE] = ROLE_USER,
    [MESSAGE_QUOTA_RENAME] = ROLE_USER,
    [MESSAGE_EXPORT] = ROLE_ADMIN,
    [MESSAGE_HELLO] = ROLE_NODE,
    [MESSAGE_HEARTBEAT] = ROLE_NODE,
    [MESSAGE_PROGRESS] = ROLE_NODE,
    [MESSAGE_READY] = ROLE_NODE,
    [MESSAGE_STARTED] = ROLE_NODE,
    [MESSAGE_REFUSED] = ROLE_NODE,
    [MESSAGE_CHECKPOINTED] = ROLE_NODE,
    [MESSAGE_EXITED] = ROLE_NODE,
    [MESSAGE_RELAY] = ROLE_NODE,
    [MESSAGE_RELAYED] = ROLE_NODE,
    [MESSAGE_LOG_DATA] = ROLE_NODE,
    [MESSAGE_TERMINAL_DATA] = ROLE_NODE,
    [MESSAGE_DONE] = ROLE_NODE,
    [MESSAGE_FAILURE] = ROLE_NODE,
};

unsigned authorise_allowed(enum message_type type) { return type < MESSAGE_TYPE_COUNT ? allowed[type] : 0; }

static bool is_listed(uid_t uid, const char *admins) {
    char number[24], copy[1024];
    struct passwd *pw = getpwuid(uid);
    snprintf(number, sizeof number, "%u", (unsigned)uid);
    snprintf(copy, sizeof copy, "%s", admins ? admins : "");
    char *rest = copy, *name;
    while ((name = strsep(&rest, ", ")))
        if (*name && (!strcmp(name, number) || (pw && !strcmp(name, pw->pw_name))))
            return true;
    return false;
}

unsigned authorise_roles(const struct peer *peer, const char *admins) {
    if (peer->kind == PEER_NODE_KEY || peer->kind == PEER_LOOPBACK)
        return ROLE_NODE;   /* plain loopback names nobody: it is a node's where an admin chose to listen so, and never a user's */
    if (peer->uid == 0 || peer->uid == geteuid())
        return ROLE_USER | ROLE_ADMIN | ROLE_NODE;
    return admins && *admins && is_listed(peer->uid, admins) ? ROLE_USER | ROLE_ADMIN : ROLE_USER;
}

int authorise_message(enum message_type type, const struct peer *peer, unsigned roles, struct error *err) {
    unsigned wanted = authorise_allowed(type);
    if (wanted & roles)
        return 0;
    if ((wanted & ROLE_USER) && peer->kind != PEER_LOCAL_USER)
        return error_set(err, ERR_DENIED, "users are known by the kernel's word: use the scheduler's ipc endpoint "
                         "(MUSTER_ENDPOINT=ipc://...), not tcp");
    if (wanted & ROLE_ADMIN)
        return error_set(err, ERR_DENIED, "only an admin may do this: root, the user that musterd runs as, or one named by its --admins");
    if (wanted & ROLE_NODE)
        return error_set(err, ERR_DENIED, "only a node may send %s: it needs the node key, or to run as root or as musterd's user",
                         message_type_name(type));
    return error_set(err, ERR_DENIED, "%s is not a message for the scheduler", message_type_name(type));
}

int authorise_job(int64_t job, uid_t owner, const struct peer *peer, unsigned roles, struct error *err) {
    if ((roles & ROLE_ADMIN) || (peer->kind == PEER_LOCAL_USER && peer->uid == owner))
        return 0;
    struct passwd *pw = getpwuid(owner);
    char number[24];
    snprintf(number, sizeof number, "%u", (unsigned)owner);
    return error_set(err, ERR_DENIED, "job %lld belongs to %s: only its owner or an admin may do this", (long long)job,
                     pw ? pw->pw_name : number);
}

/* ---- queues ---- */

/* "ml/a" is within "ml"; strictly: it is not "ml" itself. */
static bool is_within(const char *name, const char *above, bool strictly) {
    size_t length = strlen(above);
    return !strncmp(name, above, length) && (name[length] == '/' || (!name[length] && !strictly));
}

static bool administers(const struct cluster *c, const char *queue, bool strictly, const struct known_user *user) {
    for (int32_t i = 0; i < c->queue_count; i++)
        if (!c->queues[i].deleted && is_within(queue, c->queues[i].name, strictly) && user_is_named(user, c->queues[i].admins))
            return true;
    return false;
}

/* The queue whose lists leave the user out; -1: none does. */
static int32_t who_keeps_out(const struct cluster *c, const char *queue, const struct known_user *user) {
    for (int32_t i = cluster_queue(c, queue); i >= 0; i = c->queues[i].parent) {
        const struct queue *q = &c->queues[i];
        if ((*q->users || *q->groups) && !user_is_named(user, q->users) && !user_is_in_groups(user, q->groups))
            return i;
    }
    return -1;
}

static int deny_submit(const struct queue *q, const struct known_user *user, struct error *err) {
    return error_set(err, ERR_DENIED, "queue '%s' takes jobs of %s%.150s%s%s%.150s, and %s is not among them: name another queue, or ask "
                     "an admin of it", q->name, *q->users ? "the users " : "", q->users, *q->users && *q->groups ? " and of " : "",
                     *q->groups ? "the groups " : "", q->groups, user->name);
}

int authorise_queue(const struct cluster *c, const char *queue, enum queue_right right, const struct known_user *user, unsigned roles,
                    struct error *err) {
    if ((roles & ROLE_ADMIN) || administers(c, queue, right == QUEUE_CHANGE, user))
        return 0;
    if (right == QUEUE_SUBMIT) {
        int32_t by = who_keeps_out(c, queue, user);
        return by < 0 ? 0 : deny_submit(&c->queues[by], user, err);
    }
    return error_set(err, ERR_DENIED, "only an admin may %s queue '%s': root, the user that musterd runs as, one named by its --admins, or "
                     "one whom a queue%s names as admin; %s is none of them", right == QUEUE_CHANGE ? "change" : "act on the jobs of",
                     queue, right == QUEUE_CHANGE ? " above it" : " on the way up", user->name);
}

bool authorise_same_user(const struct peer *a, const struct peer *b) {
    if (a->kind != b->kind)
        return false;
    return a->kind == PEER_LOCAL_USER ? a->uid == b->uid : a->route_size == b->route_size && !memcmp(a->route, b->route, a->route_size);
}
