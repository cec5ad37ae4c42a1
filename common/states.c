#include "common/states.h"

#include <assert.h>
#include <string.h>

static const char *const job_states[] = {
#define X(name) #name,
    JOB_STATES(X)
#undef X
};
static const char *const wait_codes[] = {
#define X(name) #name,
    WAIT_CODES(X)
#undef X
};
static const char *const stop_causes[] = {
#define X(name) #name,
    STOP_CAUSES(X)
#undef X
};
static const char *const exit_kinds[] = {
#define X(name) #name,
    EXIT_KINDS(X)
#undef X
};
static const char *const launchers[] = {"none", "mpirun", "direct"};
static const char *const levels[] = {"any", "rack", "node", "island", "pod"};

#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

static const char *name_in(const char *const *names, int count, int index) {
    return index >= 0 && index < count ? names[index] : "?";
}

static int index_in(const char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

const char *job_state_name(int state) { return name_in(job_states, COUNT(job_states), state); }
int job_state_from_name(const char *name) { return index_in(job_states, COUNT(job_states), name); }
bool job_state_is_final(int state) { return state >= JOB_COMPLETED; }
bool job_state_holds_gpus(int state) { return state >= JOB_STARTING && state <= JOB_UNKNOWN; }
const char *wait_code_name(int code) { return name_in(wait_codes, COUNT(wait_codes), code); }
const char *stop_cause_name(int cause) { return name_in(stop_causes, COUNT(stop_causes), cause); }
const char *exit_kind_name(int kind) { return name_in(exit_kinds, COUNT(exit_kinds), kind); }
const char *job_launcher_name(int launcher) { return name_in(launchers, COUNT(launchers), launcher); }
int job_launcher_from_name(const char *name) { return index_in(launchers, COUNT(launchers), name); }
const char *topology_level_name(int level) { return name_in(levels, COUNT(levels), level); }

int topology_depth(int level) {
    static const int depths[] = {[LEVEL_ANY] = 0, [LEVEL_POD] = 1, [LEVEL_RACK] = 2, [LEVEL_NODE] = 3, [LEVEL_ISLAND] = 4};
    return depths[level];
}

bool topology_is_one_node(int level) { return level == LEVEL_NODE || level == LEVEL_ISLAND; }

int topology_level_from_name(const char *name) { return index_in(levels, COUNT(levels), name); }
