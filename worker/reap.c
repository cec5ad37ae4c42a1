/* Collects the ends of the launcher's children, and of the orphans that it adopted as subreaper. */
#include "worker/reap.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "worker/launcher.h"

void reap_children(struct launcher *l) {
    int status;
    struct rusage usage;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
        launch_task_reaped(l, pid, status, &usage, clock_boot_ms());
}
