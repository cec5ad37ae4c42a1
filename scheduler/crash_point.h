/* Named places where a test may kill the daemon: MUSTER_CRASH=after_commit:3 ends it with SIGKILL the third time it gets there. Only in
 * builds made with VARIANT=fault; elsewhere the places are nothing. */
#ifndef SCHEDULER_CRASH_POINT_H
#define SCHEDULER_CRASH_POINT_H

void crash_point(const char *name);

#ifdef MUSTER_CRASH_POINTS
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

#endif
