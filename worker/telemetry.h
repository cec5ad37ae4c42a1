/* How busy the host is, from /proc: rates are over the time since the last sample. */
#ifndef WORKER_TELEMETRY_H
#define WORKER_TELEMETRY_H

#include "common/message.h"

struct telemetry {
    int64_t sampled_ms;      /* 0: never */
    uint64_t cpu_busy, cpu_total, major_faults;
};

void telemetry_sample(struct telemetry *t, struct heartbeat *into);

#endif
