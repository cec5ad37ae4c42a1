#include "scheduler/users.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/queue_spec.h"
#include "common/text.h"

enum { KNOWN_MS = 60000, GROUPS_MAX = 256 };

static void fill_groups(struct known_user *u) {
    gid_t gids[GROUPS_MAX];
    int count = GROUPS_MAX;
    size_t used = 0;
    u->groups[0] = '\0';
    if (getgrouplist(u->name, u->gid, gids, &count) < 0)
        count = GROUPS_MAX;   /* the first so many */
    for (int i = 0; i < count; i++) {
        struct group *g = getgrgid(gids[i]);
        text_append(u->groups, sizeof u->groups, &used, "%s%s%s%u", used ? "," : "", g ? g->gr_name : "", g ? "," : "", (unsigned)gids[i]);
    }
}

const struct known_user *users_find(struct known_user cache[USERS_KNOWN], uid_t uid, gid_t gid) {
    struct known_user *u = &cache[uid % USERS_KNOWN];
    int64_t now_ms = clock_boot_ms();
    if (u->asked_ms && u->uid == uid && now_ms - u->asked_ms < KNOWN_MS)
        return u;
    struct passwd *pw = getpwuid(uid);
    *u = (struct known_user){.uid = uid, .gid = pw ? pw->pw_gid : gid, .asked_ms = now_ms};
    if (!pw || !text_copy(u->name, sizeof u->name, pw->pw_name))
        snprintf(u->name, sizeof u->name, "%u", (unsigned)uid);
    fill_groups(u);
    return u;
}

bool user_is_named(const struct known_user *u, const char *names) {
    char number[16];
    snprintf(number, sizeof number, "%u", (unsigned)u->uid);
    return queue_names_have(names, u->name) || queue_names_have(names, number);
}

bool user_is_in_groups(const struct known_user *u, const char *names) {
    char name[128];
    for (const char *p = u->groups, *end; *p; p = end + (*end == ',')) {
        for (end = p; *end && *end != ','; end++)
            ;
        snprintf(name, sizeof name, "%.*s", (int)(end - p), p);
        if (queue_names_have(names, name))
            return true;
    }
    return false;
}
