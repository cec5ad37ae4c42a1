/* Who a uid is: name and unix groups, as this host's user data base says. It may be slow: what it said holds for a minute. */
#ifndef SCHEDULER_USERS_H
#define SCHEDULER_USERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { USERS_KNOWN = 64, USER_GROUPS_MAX = 4096 };

struct known_user {
    uid_t uid;
    gid_t gid;
    char name[64];                  /* the number where there is no name */
    char groups[USER_GROUPS_MAX];   /* "ml,1004,users,100": each by name and by number */
    int64_t asked_ms;               /* boot clock; 0: never */
};

/* gid: what the kernel said, where the data base knows nothing. Valid until the next call. */
const struct known_user *users_find(struct known_user cache[USERS_KNOWN], uid_t uid, gid_t gid);

bool user_is_named(const struct known_user *u, const char *names);      /* by name or number in "ada,1001" */
bool user_is_in_groups(const struct known_user *u, const char *names);

#endif
