/* View documents as text: what show, why, nodes, top and quota print. */
#include "tests/unit/cli/capture.h"

#include <time.h>
#include <unistd.h>

#include "common/queue_file.h"
#include "scheduler/cli/done.h"
#include "scheduler/cli/quota_show.h"
#include "scheduler/cli/views.h"

static int use_utc(void **state) {
    setenv("TZ", "UTC", 1);
    tzset();
    return 0;
}

static void test_show(void **state) {
    json_t *document = parse_json(
        "{\"jobs\": [{\"id\": 3, \"name\": \"gpt\", \"user\": \"ann\", \"queue\": \"ml\", \"state\": \"RUNNING\", \"priority\": 5, "
        "\"gpus\": 4,"
        " \"command\": [\"muster-train\", \"--steps\", \"200\"], \"directory\": \"/home/ann\", \"launcher\": \"mpirun\","
        " \"requested\": {\"nodes\": 2, \"gpus\": 4, \"ranks\": 4, \"cpus\": 1, \"memory_mib\": 2048, \"topology\": \"rack\", "
        "\"time_limit_ms\": 60000,"
        "  \"priority\": 5, \"preemptible\": true}, \"after\": [{\"job\": 1, \"ok\": true}, {\"job\": 2, \"ok\": false}],"
        " \"submit_ms\": 1000, \"start_ms\": 61000, \"end_ms\": null, \"reason\": null,"
        " \"placement\": {\"level\": \"rack\", \"bandwidth_gbs\": 50, \"nodes\": ["
        "  {\"node\": \"n0\", \"rack\": \"r0\", \"gpus\": [0, 1], \"island\": 0, \"ranks\": [0, 1], \"link_gbs\": 300}],"
        "  \"rank_order\": [\"n0:gpu0\", \"n0:gpu1\"]},"
        " \"progress\": {\"step\": 20, \"total\": 200, \"loss\": 3.25, \"values\": {\"tokens_per_s\": 812.5}},"
        " \"checkpoint\": {\"step\": 10, \"ms\": 62000}, \"series\": {\"t_ms\": [1, 2], \"step\": [1, 20], \"loss\": [5.5, 3.25]},"
        " \"attempts\": [{\"attempt\": 1, \"start_ms\": 61000, \"end_ms\": 65000, \"outcome\": \"PREEMPTED\", \"nodes\": [\"n0\"], "
        "\"step\": 10}],"
        " \"timeline\": [{\"ms\": 61000, \"turn\": 9, \"event\": \"JOB_START\", \"text\": \"on n0\"}]}]}");
    static const char *const parts[] = {
        "Job 3  gpt  RUNNING\n",
        "  user        ann, queue ml, priority 5\n",
        "  command     muster-train --steps 200\n",
        "  asked for   4 GPUs on 2 nodes, 4 ranks, 1 core a rank, 2.0 GiB a node, within one rack, at most 1m00s\n",
        "  after       ok:1, any:2\n",
        "  ran         20s\n",
        "  placement   within one rack, 50 GB/s at its narrowest link\n",
        "              n0 in r0: gpus 0,1, island 0, 300 GB/s between them, ranks 0-1\n",
        "  rank order  n0:gpu0 n0:gpu1\n",
        "  progress    [##..................] 20/200 loss 3.25\n",
        "  reports     tokens_per_s 812.5\n",
        "  loss        5.5 at step 1 -> 3.25 at step 20\n",
        "  checkpoint  step 10 at 00:01:02\n",
        "  1        00:01:01  00:01:05  PREEMPTED  n0       10\n",
        "  00:01:01  JOB_START  on n0\n",
    };
    char *text;
    CAPTURE(text, show_print(document, 81000, out));
    for (size_t i = 0; i < COUNT(parts); i++)
        assert_contains(text, parts[i]);
    free(text);
    json_decref(document);
}

static void test_show_of_an_array(void **state) {
    json_t *document = parse_json(
        "{\"jobs\": [{\"id\": 12, \"number\": 12, \"element\": null, \"name\": \"x\", \"state\": \"PENDING\", \"array\": "
        "{\"elements\": 100, \"limit\": 8, \"waiting\": \"10-99\", \"counts\": "
        "{\"waiting\": 90, \"running\": 8, \"apart\": 0, \"COMPLETED\": 2}}}, "
        "{\"id\": 12, \"number\": 15, \"element\": 7, \"name\": \"x\", \"state\": \"RUNNING\"}]}");
    char *text;
    CAPTURE(text, show_print(document, 81000, out));
    assert_contains(text, "Job 12  x  PENDING\n");
    assert_contains(text, "  array       100 elements, at most 8 at once: 8 running, 90 waiting, 2 COMPLETED\n  to start    10-99\n");
    assert_contains(text, "Job 12[7]  x  RUNNING\n");
    free(text);
    CAPTURE(text, why_print(document, 81000, out));
    assert_contains(text, "Job 12[7]  RUNNING\n");
    free(text);
    json_decref(document);
}

static void test_show_of_a_script(void **state) {
    json_t *document = parse_json("{\"jobs\": [{\"id\": 3, \"name\": \"x\", \"state\": \"PENDING\", \"script_bytes\": 512, "
                                  "\"command\": [\"one\", \"two\"]}]}");
    char *text;
    CAPTURE(text, show_print(document, 81000, out));
    assert_contains(text, "  script      512 bytes, as submitted\n  arguments   one two\n");
    free(text);
    json_decref(document);
}

/* A daemon that is older, or a job that never ran, leaves members out: nothing is made up for them. */
static void test_show_of_little(void **state) {
    json_t *document = parse_json(
        "{\"jobs\": [{\"id\": 3, \"name\": \"x\", \"state\": \"PENDING\", \"reason\": {\"code\": \"HELD\", \"text\": \"held\"}}]}");
    char *text;
    CAPTURE(text, show_print(document, 0, out));
    assert_contains(text, "  waits       held\n");
    assert_null(strstr(text, "placement"));
    assert_null(strstr(text, "checkpoint"));
    assert_null(strstr(text, "progress"));
    free(text);
    json_decref(document);
}

static void test_why(void **state) {
    json_t *document = parse_json(
        "{\"jobs\": [{\"id\": 5, \"state\": \"PENDING\", \"reason\": {\"code\": \"QUEUE_LIMIT\", \"text\": \"queue ml uses 8 of 8 GPUs\","
        " \"remedy\": \"wait for job 2, or raise the limit\", \"holders\": [2, 4],"
        " \"changes\": [{\"option\": \"--gpus 2\", \"effect\": \"2 GPUs would start now on n1\", \"by\": \"user\"},"
        " {\"option\": \"muster quota set ml --limit 9\", \"effect\": \"3 GPUs would start now on n1\", \"by\": \"admin\"}]},"
        " \"past\": [{\"ms\": 61000, \"text\": \"had to go\", \"rule\": \"reclaim\", \"gpus_asked\": 4, \"gpus_evicted\": 4,"
        " \"gpus_evicted_by_plan\": 8, \"gpu_seconds_lost\": 1.5, \"for_job\": 9, \"plan\": \"reclaim: job 9 needs 4\"},"
        " {\"ms\": 62000, \"text\": \"had to leave\", \"rule\": \"quota\", \"gpus_evicted\": 4, \"gpu_seconds_lost\": 2},"
        " {\"ms\": 63000, \"text\": \"had to go\", \"rule\": \"reclaim\", \"gpu_type\": \"H100\", \"gpus_evicted\": 4}]}]}");
    char *text;
    CAPTURE(text, why_print(document, 0, out));
    assert_string_equal(
        text,
        "Job 5  PENDING  QUEUE_LIMIT\n"
        "  because     queue ml uses 8 of 8 GPUs\n"
        "  held by     jobs 2, 4\n"
        "  remedy      wait for job 2, or raise the limit\n"
        "  or          --gpus 2: 2 GPUs would start now on n1\n"
        "              an admin: muster quota set ml --limit 9: 3 GPUs would start now on n1\n"
        "  evicted     3 times, 3.5 GPU seconds of work lost\n"
        "  00:01:01    had to go (rule: reclaim): 4 GPUs asked for, 4 evicted (8 by the whole plan), 1.5 GPU seconds of work lost\n"
        "              reclaim: job 9 needs 4\n"
        "  00:01:02    had to leave (rule: quota): 4 evicted, 2 GPU seconds of work lost\n"
        "  00:01:03    had to go (rule: reclaim, guarantee of H100): 4 evicted, 0 GPU seconds of work lost\n");
    free(text);
    json_decref(document);
}

static void test_why_not(void **state) {
    json_t *document = parse_json("{\"jobs\": [{\"id\": 5, \"state\": \"RUNNING\", \"reason\": null, \"past\": []}]}");
    char *text;
    CAPTURE(text, why_print(document, 0, out));
    assert_string_equal(text, "Job 5  RUNNING\n              It does not wait.\n");
    free(text);
    json_decref(document);
    document = parse_json(
        "{\"jobs\": [{\"id\": 5, \"state\": \"RUNNING\", \"reason\": null, \"past\": [{\"ms\": 61000, \"text\": \"had to go\","
        " \"rule\": \"loan\", \"gpus_evicted\": 4, \"gpu_seconds_lost\": 2, \"plan\": \"loan: it ran there\"},"
        " {\"ms\": 62000, \"cause\": \"MOVED\", \"text\": \"was to go elsewhere\", \"plan\": \"move: makes room\"}]}]}");
    CAPTURE(text, why_print(document, 0, out));
    assert_string_equal(text, "Job 5  RUNNING\n              It does not wait.\n"
                              "  evicted     1 time, 2 GPU seconds of work lost\n"
                              "  00:01:01    had to go (rule: loan): 4 evicted, 2 GPU seconds of work lost\n"
                              "              loan: it ran there\n"
                              "  moved       00:01:02: was to go elsewhere (rule: move: makes room)\n");
    free(text);
    json_decref(document);
}

static const char two_nodes[] = "{\"nodes\": [{\"name\": \"n0\", \"state\": \"UP\", \"rack\": \"r0\", \"fake\": true, \"gpus\": "
                                "[{\"index\": 0, \"type\": \"H100\", \"uuid\": \"FAKE-0\","
                                " \"memory_mib\": 81920, \"numa\": 0, \"island\": 0, \"job\": 7, \"holder\": {\"id\": 7}}], "
                                "\"gpus_total\": 8, \"gpus_used\": 2, \"cpus_total\": 64, \"cpus_used\": 4,"
                                " \"memory_mib\": 65536, \"jobs\": [{\"id\": 7}, {\"id\": 9, \"element\": 3}], "
                                "\"features\": [\"nvme\", \"ib\"], \"last_heard_ms\": 1000},"
                                "{\"name\": \"n1\", \"state\": \"DRAINED\", \"rack\": \"r1\", \"gpus\": [], \"gpus_total\": 0, "
                                "\"gpus_used\": 0, \"cpus_total\": 8, \"cpus_used\": 0,"
                                " \"memory_mib\": 1024, \"jobs\": [], \"reason\": \"new\\u0007disk\"}]}";

static void test_nodes(void **state) {
    json_t *document = parse_json(two_nodes);
    char *text;
    CAPTURE(text, nodes_print(document, out));
    assert_string_equal(text,
                        "NAME  STATE    RACK  GPUS  TYPE         CPUS    MEMORY  FEATURES  JOBS    REASON\n"
                        "n0    UP       r0     2/8  H100 (fake)  4/64  64.0 GiB  nvme,ib   7,9[3]  \n"
                        "n1    DRAINED  r1     0/0                0/8   1.0 GiB                    new\\x07disk\n");
    free(text);
    json_decref(document);
}

static void test_one_node(void **state) {
    json_t *document = parse_json(two_nodes);
    char *text;
    CAPTURE(text, node_print(json_array_get(json_object_get(document, "nodes"), 0), 3000, out));
    assert_contains(text, "Node n0  UP\n");
    assert_contains(text, "  gpus        2 of 8 used\n");
    assert_contains(text, "  heard       2s ago\n");
    assert_contains(text, "FAKE-0");
    free(text);
    json_decref(document);
}

static void test_top(void **state) {
    json_t *document = parse_json(
        "{\"nodes\": [{\"name\": \"n0\", \"state\": \"UP\", \"cpu_pct\": 50, \"mem_available_mib\": 256, \"mem_total_mib\": 1024, "
        "\"swap_used_mib\": 0,"
        " \"page_faults_per_s\": 3, \"load1\": 1.5, \"gpus\": [{\"utilisation_pct\": 90, \"memory_used_mib\": 512, \"power_w\": 300,"
        " \"temperature_c\": 60, \"job\": 8, \"holder\": {\"id\": 7, \"element\": 2}}]}], \"jobs\": []}");
    char *text;
    CAPTURE(text, top_print(document, 0, out));
    assert_contains(text, "n0    UP     [#####.....]  50%  1.50  [#######...]  256 MiB  0 MiB         3\n");
    assert_contains(text, "n0      0  7[2]  [#########.]  90%  512 MiB  300 W  60 C\n");
    free(text);
    json_decref(document);
}

static void test_quota(void **state) {
    json_t *document = parse_json(
        "{\"gpus_total\": 32, \"queues\": ["
        "{\"name\": \"ml\", \"guarantee\": 8, \"entitlement\": 10, \"limit\": 12, \"weight\": 2, \"used\": 9, \"borrowed\": 1, "
        "\"waiting_gpus\": 4, \"owed\": 0, \"running_jobs\": 2, \"pending_jobs\": 1, \"over\": false,"
        " \"effective\": {\"limit\": {\"value\": \"12\", \"from\": \"ml\"}}, \"gpu_types\": ["
        "  {\"type\": \"H100\", \"guarantee\": 2, \"limit\": null, \"effective_limit\": 8, \"weight\": 2, \"used\": 4, \"borrowed\": 2,"
        "   \"settings\": {\"guarantee\": \"2\"}},"
        "  {\"type\": \"A100\", \"guarantee\": 0, \"limit\": null, \"effective_limit\": 8, \"weight\": 2, \"used\": 5, \"settings\": {}}]},"
        "{\"name\": \"ml/vision\", \"guarantee\": 0, \"entitlement\": 0, \"limit\": null, \"weight\": 1, \"used\": 16, \"borrowed\": 16,"
        " \"waiting_gpus\": 0, \"owed\": 0, \"running_jobs\": 1, \"pending_jobs\": 0, \"over\": true, \"evicting\": true, \"closed\": true,"
        " \"effective\": {\"limit\": {\"value\": \"12\", \"from\": \"ml\"}, \"users\": {\"value\": \"ada,bob\", \"from\": \"ml/vision\"},"
        "  \"policy\": {\"value\": \"fair\", \"from\": null}}}]}");
    const json_t *queues = json_object_get(document, "queues");
    char *text;
    CAPTURE(text, quota_print(document, out));
    assert_contains(text, "ml                8        10     12       2     9  [##########++....]         1        4     0        2    "
                          "    1  \n");
    assert_contains(text, "- H100            2              (8)       2     4  [####++++........]         2");
    assert_null(strstr(text, "A100"));   /* in use, but nothing is said of it */
    assert_contains(text, "  vision          0         0   (12)       1    16  [++++++++++++++++]        16        0     0        1    "
                          "    0  drained, over its limit, evicting\n");
    assert_contains(text, "GPUs in the cluster: 32\n");
    free(text);
    CAPTURE(text, quota_print_settings(json_array_get(queues, 1), out));
    assert_string_equal(text, "\nQueue ml/vision\n"
                              "  limit                 12   (from ml)\n"
                              "  policy                fair   (not set)\n"
                              "  users                 ada,bob\n");
    free(text);
    json_decref(document);
}

static void test_quota_changes(void **state) {
    json_t *rows = parse_json(
        "[{\"name\": \"ml\", \"action\": \"create\", \"changes\": [{\"setting\": \"guarantee\", \"before\": \"none\", \"after\": \"8\"},"
        "   {\"setting\": \"limit\", \"gpu_type\": \"H100\", \"before\": \"none\", \"after\": \"4\"}],"
        "  \"effective\": {\"guarantee\": {\"value\": \"8\"}, \"users\": {\"value\": \"all\"}, \"policy\": {\"value\": \"fair\"}}, "
        "\"over\": null},"
        " {\"name\": \"lab\", \"action\": \"change\", \"changes\": [{\"setting\": \"limit\", \"before\": \"8\", \"after\": \"4\"}],"
        "  \"over\": {\"used\": 8, \"limit\": 4, \"gpu_type\": null, \"jobs\": [{\"id\": 3, \"user\": \"ada\\u001b\", \"gpus\": 4, "
        "\"fate\": \"evicted\", \"gpus_left\": 0}, {\"id\": 12, \"element\": 7, \"user\": \"bob\", \"gpus\": 2, \"fate\": \"evicted\","
        " \"gpus_left\": 0}, {\"id\": 5, \"user\": \"eve\", \"gpus\": 8, \"fate\": \"resized\", \"gpus_left\": 4}]}},"
        " {\"name\": \"old\", \"action\": \"rename\", \"to\": \"new\", \"changes\": []},"
        " {\"name\": \"gone\", \"action\": \"move\", \"to\": \"new\", \"jobs\": 2}]");
    char *text;
    CAPTURE(text, quota_print_changes(rows, true, out));
    assert_string_equal(text, "create ml: guarantee 8, limit of H100 4\n"
                              "  in effect: guarantee 8, policy fair\n"
                              "change lab: limit 8 -> 4\n"
                              "  over: uses 8 GPUs of 4; goes on with less, after a checkpoint: job 5 (eve, 8 -> 4 GPUs); "
                              "evicted, after a checkpoint: job 3 (ada\\x1b, 4 GPUs), 12[7] (bob, 2 GPUs)\n"
                              "rename old to new\n"
                              "move gone: 2 jobs to new\n");
    free(text);
    json_decref(rows);
    rows = json_array();
    CAPTURE(text, quota_print_changes(rows, false, out));
    assert_contains(text, "nothing changes");
    free(text);
    json_decref(rows);
}

static void test_quota_history(void **state) {
    json_t *document = parse_json(
        "{\"changes\": [{\"ms\": 61000, \"user\": \"ada\", \"queue\": \"ml\", \"action\": \"change\","
        " \"changes\": [{\"setting\": \"weight\", \"before\": \"none\", \"after\": \"2\"}]},"
        " {\"ms\": 62000, \"user\": \"root\", \"queue\": \"ml\", \"action\": \"delete\", \"to\": \"lab\", \"changes\": ["
        "{\"setting\": \"weight\", \"before\": \"2\", \"after\": \"none\"}]}]}");
    char *text;
    CAPTURE(text, quota_print_history(document, out));
    assert_contains(text, "1970-01-01 00:01:01  ada   ml     change: weight none -> 2\n");
    assert_contains(text, "1970-01-01 00:01:02  root  ml     delete, its jobs to lab\n");
    free(text);
    json_decref(document);
}

/* What is written can be read: names that YAML would take for something else are quoted. */
static void test_quota_yaml(void **state) {
    json_t *document = parse_json(
        "{\"queues\": [{\"name\": \"default\", \"settings\": {}, \"gpu_types\": []}, {\"name\": \"ml/a\", \"settings\": {"
        "\"limit\": \"8\", \"max_walltime\": \"36h\", \"users\": \"ada,*bob,null\", \"closed\": \"true\"},"
        " \"gpu_types\": [{\"type\": \"H100 SXM\", \"settings\": {\"limit\": \"4\"}}, {\"type\": \"A100\", \"settings\": {}}]}]}");
    char *text, path[] = "/tmp/muster-queues.XXXXXX", buffer[64];
    struct arena arena = {0};
    struct error err;
    struct rows specs;
    CAPTURE(text, quota_print_yaml(document, out));
    assert_contains(text, "\n  default:\n  ml/a:\n    limit: 8\n    max_walltime: 36h\n    users: [ada, '*bob', 'null']\n    closed: true\n"
                          "    gpu_types:\n      'H100 SXM':\n        limit: 4\n");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_ok(queue_file_read(path, &specs, &arena, &err), &err);
    assert_int_equal(specs.count, 2);
    const struct queue_spec *spec = &((const struct queue_spec *)specs.items)[1];
    const struct queue_typed *typed = spec->typed.items;
    assert_string_equal(spec->queue, "ml/a");
    assert_string_equal(spec->users, "ada,*bob,null");
    assert_string_equal(queue_setting_text(spec, QUEUE_SETTING_MAX_WALLTIME, buffer, sizeof buffer), "36h");
    assert_true(spec->whole && spec->closed && spec->typed.count == 1);
    assert_string_equal(typed->gpu_type, "H100 SXM");
    assert_int_equal(typed->limit, 4);
    close(fd);
    unlink(path);
    free(text);
    arena_release(&arena);
    json_decref(document);
}

static void test_partly_done(void **state) {
    struct done done = {.count = 1, .text = ""};
    done.rows = parse_json("[{\"id\": 4}, {\"id\": 5, \"error\": \"job 5 has already ended: COMPLETED\"}]");
    char *text;
    CAPTURE(text, assert_int_equal(done_print(&done, false, "cancelled", "job", out), 1));
    assert_string_equal(text, "cancelled 1 job\nmuster: job 5 has already ended: COMPLETED\n");
    free(text);
    json_decref(done.rows);
    done = (struct done){.count = 2, .text = ""};
    CAPTURE(text, assert_int_equal(done_print(&done, false, "drained", "node", out), 0));
    assert_string_equal(text, "drained 2 nodes\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_show_of_a_script),
        cmocka_unit_test(test_show_of_an_array),
        cmocka_unit_test(test_show_of_little),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_why_not),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_one_node),
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_quota_changes),
        cmocka_unit_test(test_quota_history),
        cmocka_unit_test(test_quota_yaml),
        cmocka_unit_test(test_partly_done),
    };
    return cmocka_run_group_tests(tests, use_utc, NULL);
}
