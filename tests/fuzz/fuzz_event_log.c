/* Any bytes as an exported event log: snapshots, turns and the policy that is asked again. Whatever ends well is a cluster that passes its
 * check. */
#include <assert.h>
#include <stdio.h>

#include "scheduler/sim/replay_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct replay_log r;
    struct error err = {0};
    FILE *f = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    if (!f)
        return 0;
    replay_log_init(&r, f, true, 3);
    int rc = replay_log_run(&r, &err);
    assert(rc ? err.code == rc && err.text[0] : r.ended && !cluster_check(&r.c, &err));
    replay_log_release(&r);
    fclose(f);
    return 0;
}
