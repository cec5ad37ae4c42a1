/* Events as lines for people: one of each kind, and one that this client has never heard of. */
#include "tests/unit/cli/capture.h"

#include <time.h>

#include "scheduler/cli/event_text.h"

static int use_utc(void **state) {
    setenv("TZ", "UTC", 1);
    tzset();
    return 0;
}

static const struct { const char *event, *line; } table[] = {
    {"{\"name\":\"JOB_SUBMITTED\",\"job\":3,\"queue\":\"ml\",\"uid\":4000000,\"submission\":{\"gpus\":8,\"nodes\":2,\"ranks\":1,"
     "\"priority\":5,\"hold\":true}}",
     "   JOB_SUBMITTED     job 3 in ml by user 4000000: 8 GPUs on 2 nodes, 1 rank, priority 5, held"},
    {"{\"name\":\"JOB_CANCELLED\",\"job\":3,\"uid\":0,\"text\":\"enough\"}", "   JOB_CANCELLED     job 3 by root: enough"},
    {"{\"name\":\"DEPENDENCY_ENDED\",\"job\":4,\"other\":3,\"ok\":true}", "   DEPENDENCY_ENDED  job 4: job 3 had ended well"},
    {"{\"name\":\"NODE_UP\",\"node\":\"n0\",\"inventory\":{\"cpus\":64,\"rack\":\"r1\",\"gpus\":[{\"type\":\"H100\"},"
     "{\"type\":\"H100\"}]}}",
     "   NODE_UP           n0: 2 GPUs (H100), 64 cores, in r1"},
    {"{\"name\":\"NODE_UP\",\"inventory\":{\"name\":\"n1\",\"cpus\":4}}", "   NODE_UP           n1: 0 GPUs, 4 cores"},
    {"{\"name\":\"NODE_DRAINED\",\"node\":\"n0\",\"text\":\"fan\"}", "   NODE_DRAINED      n0: fan"},
    {"{\"name\":\"QUOTA_SET\",\"queue\":\"ml\",\"uid\":0,\"guarantee\":4,\"limit\":-1,\"weight\":2}",
     "   QUOTA_SET         ml by root: guarantee 4, weight 2"},
    {"{\"name\":\"QUOTA_SET\",\"queue\":\"ml\",\"uid\":0,\"drain\":true}",
     "   QUOTA_SET         ml by root: guarantee 0, limit 0, weight 1, drained"},
    {"{\"name\":\"QUOTA_DELETED\",\"queue\":\"ml\",\"uid\":0}", "   QUOTA_DELETED     ml by root"},
    {"{\"name\":\"TASK_STARTED\",\"job\":3,\"attempt\":2,\"node\":\"n0\"}", "   TASK_STARTED      job 3.2 on n0"},
    {"{\"name\":\"TASK_EXITED\",\"job\":3,\"attempt\":2,\"node\":\"n0\",\"kind\":1,\"status\":7,\"rank\":-1,\"step\":-1}",
     "   TASK_EXITED       job 3.2 on n0: exit code 7"},
    {"{\"name\":\"TASK_EXITED\",\"job\":3,\"attempt\":2,\"node\":\"n0\",\"kind\":4,\"step\":62}",
     "   TASK_EXITED       job 3.2 on n0: YIELDED at step 62"},
    {"{\"name\":\"CHECKPOINTED\",\"job\":3,\"attempt\":2,\"step\":62}", "   CHECKPOINTED      job 3.2 at step 62"},
    {"{\"name\":\"JOB_START\",\"job\":3,\"attempt\":2,\"placement\":{\"tasks\":[{\"node\":\"n0\",\"gpus\":6,\"gpu_order\":[2,1],"
     "\"ranks\":2},{\"node\":\"n1\"}]}}",
     "-> JOB_START         job 3.2 on n0 gpus 2,1 (2 ranks), n1 (0 ranks)"},
    {"{\"name\":\"JOB_STOP\",\"job\":3,\"attempt\":2,\"cause\":1,\"other\":9,\"text\":\"owed\"}",
     "-> JOB_STOP          job 3.2 PREEMPTED for job 9: owed"},
    {"{\"name\":\"JOB_HELD\",\"job\":12,\"elements\":\"5-9\",\"uid\":0}", "   JOB_HELD          job 12[5-9] by root"},
    {"{\"name\":\"JOB_ELEMENT\",\"job\":20,\"other\":12,\"element\":7}", "-> JOB_ELEMENT       job 20 is 12[7]"},
    {"{\"name\":\"JOB_KILL\",\"job\":3}", "-> JOB_KILL          job 3"},
    {"{\"name\":\"JOB_RESIZED\",\"job\":3,\"node\":\"n0\",\"queue\":\"ml\",\"text\":\"of the \\u001bfuture\"}",
     "   JOB_RESIZED       job 3 on n0 ml: of the \\x1bfuture"},
};

static void each_event_is_a_line(void **state) {
    for (size_t i = 0; i < COUNT(table); i++) {
        json_t *event = parse_json(table[i].event);
        char *text, line[300];
        json_object_set_new(event, "turn", json_integer(17));
        json_object_set_new(event, "wall_ms", json_integer(3661000));
        CAPTURE(text, event_print(event, out));
        snprintf(line, sizeof line, "01:01:01      17  %s\n", table[i].line);
        assert_string_equal(text, line);
        free(text);
        json_decref(event);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_event_is_a_line)};
    return cmocka_run_group_tests(tests, use_utc, NULL);
}
