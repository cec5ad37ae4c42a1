/* Who may send what, as a table that a person has read: a new message, or a changed right, must be written down here too. */
#include "tests/unit/unit.h"

#include <unistd.h>

#include "scheduler/authorise.h"
#include "scheduler/cluster/event.h"

static const struct { enum message_type type; const char *who; } golden[] = {
    {MESSAGE_SUBMIT, "user"}, {MESSAGE_TEST_SUBMIT, "user"},
    {MESSAGE_JOB_ACTION, "user"}, {MESSAGE_VIEW, "user"}, {MESSAGE_LOG_READ, "user"}, {MESSAGE_TERMINAL, "user"},
    {MESSAGE_NODE_ACTION, "admin"}, {MESSAGE_QUOTA_SET, "user"}, {MESSAGE_QUOTA_DELETE, "user"}, {MESSAGE_QUOTA_RENAME, "user"},
    {MESSAGE_EXPORT, "admin"}, {MESSAGE_EXPORT_DATA, ""},
    {MESSAGE_HELLO, "node"}, {MESSAGE_HEARTBEAT, "node"}, {MESSAGE_PROGRESS, "node"}, {MESSAGE_READY, "node"}, {MESSAGE_STARTED, "node"},
    {MESSAGE_REFUSED, "node"}, {MESSAGE_CHECKPOINTED, "node"}, {MESSAGE_EXITED, "node"}, {MESSAGE_RELAY, "node"}, {MESSAGE_RELAYED, "node"},
    {MESSAGE_LOG_DATA, "node"}, {MESSAGE_TERMINAL_DATA, "node"}, {MESSAGE_DONE, "node"}, {MESSAGE_FAILURE, "node"},
    {MESSAGE_SUBMITTED, ""}, {MESSAGE_ROWS_REPLY, ""}, {MESSAGE_WELCOME, ""}, {MESSAGE_LEASE, ""}, {MESSAGE_START, ""}, {MESSAGE_GO, ""},
    {MESSAGE_STOP, ""}, {MESSAGE_CHECKPOINT, ""}};

static void the_table_is_the_golden_one(void **state) {
    assert_int_equal(COUNT(golden), MESSAGE_TYPE_COUNT);
    for (size_t i = 0; i < COUNT(golden); i++) {
        unsigned allowed = authorise_allowed(golden[i].type);
        const char *who = golden[i].who;
        unsigned want = !strcmp(who, "user") ? ROLE_USER : !strcmp(who, "admin") ? ROLE_ADMIN : *who ? ROLE_NODE : 0;
        if (allowed != want)
            fail_msg("%s: allowed %u, golden %u", message_type_name(golden[i].type), allowed, want);
    }
}

static void roles_come_from_who_the_peer_is(void **state) {
    struct peer root = {.kind = PEER_LOCAL_USER, .uid = 0}, me = {.kind = PEER_LOCAL_USER, .uid = geteuid()},
                user = {.kind = PEER_LOCAL_USER, .uid = 54321}, node = {.kind = PEER_NODE_KEY}, loopback = {.kind = PEER_LOOPBACK};
    assert_int_equal(authorise_roles(&root, NULL), ROLE_USER | ROLE_ADMIN | ROLE_NODE);
    assert_int_equal(authorise_roles(&me, NULL), ROLE_USER | ROLE_ADMIN | ROLE_NODE);
    assert_int_equal(authorise_roles(&user, NULL), ROLE_USER);
    assert_int_equal(authorise_roles(&user, "ada,54321"), ROLE_USER | ROLE_ADMIN);
    assert_int_equal(authorise_roles(&user, "ada,5432"), ROLE_USER);
    assert_int_equal(authorise_roles(&node, "0"), ROLE_NODE);
    assert_int_equal(authorise_roles(&loopback, "0"), ROLE_NODE);
}

static void refusals_say_what_to_do(void **state) {
    struct peer user = {.kind = PEER_LOCAL_USER, .uid = 54321}, loopback = {.kind = PEER_LOOPBACK};
    struct error err;
    assert_ok(authorise_message(MESSAGE_SUBMIT, &user, ROLE_USER, &err), &err);
    assert_error(authorise_message(MESSAGE_NODE_ACTION, &user, ROLE_USER, &err), ERR_DENIED, &err, "only an admin");
    assert_error(authorise_message(MESSAGE_QUOTA_SET, &loopback, ROLE_NODE, &err), ERR_DENIED, &err, "ipc endpoint");
    assert_error(authorise_message(MESSAGE_HELLO, &user, ROLE_USER, &err), ERR_DENIED, &err, "only a node");
    assert_error(authorise_message(MESSAGE_SUBMIT, &loopback, ROLE_NODE, &err), ERR_DENIED, &err, "ipc endpoint");
    assert_error(authorise_message(MESSAGE_START, &user, ROLE_USER | ROLE_ADMIN | ROLE_NODE, &err), ERR_DENIED, &err, "not a message for");
}

static void a_job_is_its_owners(void **state) {
    struct peer ada = {.kind = PEER_LOCAL_USER, .uid = 1001}, loopback = {.kind = PEER_LOOPBACK, .uid = 1001};
    struct error err;
    assert_ok(authorise_job(7, 1001, &ada, ROLE_USER, &err), &err);
    assert_ok(authorise_job(7, 1002, &ada, ROLE_USER | ROLE_ADMIN, &err), &err);
    assert_error(authorise_job(7, 1002, &ada, ROLE_USER, &err), ERR_DENIED, &err, "job 7 belongs to");
    assert_error(authorise_job(7, 1001, &loopback, ROLE_NODE, &err), ERR_DENIED, &err, "job 7");
}

/* ---- queues ---- */

/* open; lab: groups lab, admins eve; lab/ml: users ada and 1005, admins max; lab/ml/x. */
static struct cluster queues(void) {
    static const struct { const char *name, *users, *groups, *admins; } all[] = {
        {"open", "", "", ""}, {"lab", "", "lab,2002", "eve"}, {"lab/ml", "ada,1005", "", "max"}, {"lab/ml/x", "", "", ""},
        {"labour", "", "", ""}};
    struct cluster c;
    cluster_init(&c);
    for (size_t i = 0; i < COUNT(all); i++) {
        struct queue_spec spec;
        struct event e;
        struct error err;
        queue_spec_init(&spec, all[i].name);
        spec.users = all[i].users;
        spec.groups = all[i].groups;
        spec.admins = all[i].admins;
        spec.set = (*spec.users ? QUEUE_BIT(QUEUE_SETTING_USERS) : 0) | (*spec.groups ? QUEUE_BIT(QUEUE_SETTING_GROUPS) : 0) |
                   (*spec.admins ? QUEUE_BIT(QUEUE_SETTING_ADMINS) : 0);
        event_init(&e, EVENT_QUOTA_SET);
        e.queues = (struct rows){1, &spec};
        assert_ok(cluster_apply(&c, &e, 1, &err), &err);
    }
    return c;
}

/* s: may submit, j: may act on jobs of others, c: may change it; in the order of `where`. A queue that is not there yet has the rights of
 * what it would be below. */
static const char *const where[] = {"open", "lab", "lab/ml", "lab/ml/x", "lab/ml/x/new", "labour", "newtop"};
static const struct { const char *name, *groups; uid_t uid; unsigned roles; const char *may[COUNT(where)]; } rights[] = {
    {"root", "root,0", 0, ROLE_USER | ROLE_ADMIN, {"sjc", "sjc", "sjc", "sjc", "sjc", "sjc", "sjc"}},
    {"eve", "users,100", 1001, ROLE_USER, {"s", "sj", "sjc", "sjc", "sjc", "s", "s"}},    /* admin of lab: not of its own row */
    {"max", "users,100", 1002, ROLE_USER, {"s", "", "sj", "sjc", "sjc", "s", "s"}},       /* of lab/ml: below lab's groups all the same */
    {"ada", "lab,2001", 1003, ROLE_USER, {"s", "s", "s", "s", "s", "s", "s"}},            /* in both lists */
    {"bob", "lab,2001", 1004, ROLE_USER, {"s", "s", "", "", "s", "s", "s"}},              /* in lab's only */
    {"sam", "other,2002", 1005, ROLE_USER, {"s", "s", "s", "s", "s", "s", "s"}},          /* both by number */
    {"tom", "users,100", 1006, ROLE_USER, {"s", "", "", "", "s", "s", "s"}},
};

static void rights_in_queues_are_the_golden_ones(void **state) {
    struct cluster c = queues();
    for (size_t u = 0; u < COUNT(rights); u++)
        for (size_t q = 0; q < COUNT(where); q++) {
            struct known_user user = {.uid = rights[u].uid};
            char may[4] = "", *p = may;
            snprintf(user.name, sizeof user.name, "%s", rights[u].name);
            snprintf(user.groups, sizeof user.groups, "%s", rights[u].groups);
            for (int right = QUEUE_SUBMIT; right <= QUEUE_CHANGE; right++)
                if (!authorise_queue(&c, where[q], (enum queue_right)right, &user, rights[u].roles, NULL))
                    *p++ = "sjc"[right];
            *p = '\0';
            if (strcmp(may, rights[u].may[q]))
                fail_msg("%s in %s: may '%s', golden '%s'", rights[u].name, where[q], may, rights[u].may[q]);
        }
    cluster_release(&c);
}

static void refusals_in_queues_name_who_may(void **state) {
    struct cluster c = queues();
    struct error err;
    struct known_user tom = {.uid = 1006, .name = "tom", .groups = "users,100"};
    assert_error(authorise_queue(&c, "lab/ml", QUEUE_SUBMIT, &tom, ROLE_USER, &err), ERR_DENIED, &err,
                 "queue 'lab/ml' takes jobs of the users ada,1005, and tom is not among them");
    assert_error(authorise_queue(&c, "lab", QUEUE_SUBMIT, &tom, ROLE_USER, &err), ERR_DENIED, &err, "of the groups lab,2002");
    assert_error(authorise_queue(&c, "lab", QUEUE_CHANGE, &tom, ROLE_USER, &err), ERR_DENIED, &err,
                 "only an admin may change queue 'lab': root, the user that musterd runs as, one named by its --admins, or one whom a "
                 "queue above it names as admin; tom is none of them");
    cluster_release(&c);
}

static void a_user_is_who_this_host_says(void **state) {
    static struct known_user cache[USERS_KNOWN];
    const struct known_user *root = users_find(cache, 0, 0);
    assert_string_equal(root->name, "root");
    assert_true(user_is_named(root, "x,root"));
    assert_true(user_is_named(root, "0"));
    assert_true(user_is_in_groups(root, "root"));
    assert_true(user_is_in_groups(root, "0"));
    assert_false(user_is_in_groups(root, "roo"));
    const struct known_user *nobody = users_find(cache, 4242424, 4242425);
    assert_string_equal(nobody->name, "4242424");
    assert_true(user_is_named(nobody, "4242424"));
    assert_true(user_is_in_groups(nobody, "4242425"));   /* by what the kernel said */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_table_is_the_golden_one), cmocka_unit_test(roles_come_from_who_the_peer_is),
                                       cmocka_unit_test(refusals_say_what_to_do), cmocka_unit_test(a_job_is_its_owners),
                                       cmocka_unit_test(rights_in_queues_are_the_golden_ones),
                                       cmocka_unit_test(refusals_in_queues_name_who_may), cmocka_unit_test(a_user_is_who_this_host_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
