/* What the machine itself can do: the scheduler's numbers mean something only next to these, measured in the same run. */
#ifndef TESTS_BENCH_LIMITS_H
#define TESTS_BENCH_LIMITS_H

/* Each is one repetition. folder: on the file system that the store will be on. */
double limit_fsync_per_s(const char *folder);           /* 4 KiB appended and fdatasync'ed, one at a time */
double limit_spawn_per_s(void);                         /* vfork and exec of /bin/true, one at a time */
double limit_spawn_cgroup_per_s(const char *cgroup);    /* the same, each in a cgroup v2 of its own; 0: none can be made here */
double limit_zmq_roundtrip_us(const char *folder);      /* one message there and back over ipc, between two processes */
double limit_triad_gb_per_s(void);                      /* a[i] = b[i] + s * c[i] on one core, through memory (STREAM's triad) */

/* A writable cgroup v2 folder for limit_spawn_cgroup_per_s, mounted where needed; NULL: none. Undone by limits_leave_cgroup. */
const char *limits_enter_cgroup(const char *folder);
void limits_leave_cgroup(void);

#endif
