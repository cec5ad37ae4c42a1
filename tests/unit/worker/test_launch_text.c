/* What a task is launched with: environment, host file, output paths, and the command that mpirun's shim reads. */
#include "tests/unit/unit.h"

#include "worker/environment.h"
#include "worker/mpi.h"
#include "worker/output_path.h"
#include "worker/rsh.h"

static struct arena arena;
static struct gang_member gang[] = {{"n0", "10.0.0.1", 2, 2}, {"n1", "10.0.0.2", 3, 4}};
static const char *user_environment[] = {"PATH=/opt/bin", "RANK=99", "HOME=/home/ada", "MUSTER_JOB_ID=1", "PMIX_RANK=4",
                                         "MUSTER_ENDPOINT=ipc:///x"};
static int64_t gpu_indexes[] = {0, 1};

static struct start order(int node_rank) {
    struct start o = {.job = 42, .attempt = 2, .node = gang[node_rank].node, .node_rank = node_rank, .gang = {2, gang},
                      .gpus = {2, gpu_indexes}, .uid = 1000, .user = "ada", .deadline_wall_ms = 5000};
    job_spec_init(&o.spec);
    o.spec.name = "train";
    o.spec.directory = "/home/ada/run";
    o.spec.launcher = LAUNCHER_MPIRUN;
    o.spec.ranks = 5;
    o.spec.cpus = 3;
    o.spec.environment = (struct texts){COUNT(user_environment), user_environment};
    return o;
}

static const char *get(const struct environment *e, const char *name) {
    const char *found = NULL;
    size_t length = strlen(name);
    for (size_t i = 0; i < e->count; i++)
        if (strncmp(e->items[i], name, length) == 0 && e->items[i][length] == '=') {
            assert_null(found);   /* each name once */
            found = e->items[i] + length + 1;
        }
    return found ? found : "(unset)";
}

static void the_contract_is_in_the_environment(void **state) {
    struct paths paths = {.run = "/run/m", .tag = "t"};
    struct start o = order(1);
    struct environment e = {.arena = &arena};
    environment_of_task(&e, &o, &paths, "GPU-a,GPU-b", NULL, 40001);
    environment_of_rank(&e, &o, 1);
    static const char *const want[][2] = {
        {"PATH", "/opt/bin"}, {"HOME", "/home/ada"}, {"MUSTER_ENDPOINT", "ipc:///x"}, {"USER", "ada"},
        {"MUSTER_JOB_ID", "42"}, {"MUSTER_ATTEMPT", "2"}, {"MUSTER_JOB_NAME", "train"}, {"MUSTER_NNODES", "2"},
        {"MUSTER_NODELIST", "n0,n1"},
        {"MUSTER_NODE_RANK", "1"}, {"MUSTER_GPUS_ON_NODE", "2"}, {"MUSTER_SUBMIT_DIR", "/home/ada/run"}, {"MUSTER_DEADLINE", "5"},
        {"MUSTER_SOCKET", "/run/m/42.2/socket"}, {"MUSTER_TMPDIR", "/run/m/42.2/tmp"}, {"TMPDIR", "/run/m/42.2/tmp"},
        {"RANK", "3"}, {"WORLD_SIZE", "5"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "3"}, {"NODE_RANK", "1"},
        {"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "40001"}, {"CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b"}, {"OMP_NUM_THREADS", "3"},
        {"PMIX_RANK", "(unset)"}, {"MUSTER_SCRIPT", "(unset)"}};
    for (size_t i = 0; i < COUNT(want); i++)
        assert_string_equal(get(&e, want[i][0]), want[i][1]);
}

static void what_differs_between_nodes_stays_out_of_mpiruns_environment(void **state) {
    struct start o = order(0);
    struct environment e = {.arena = &arena};
    mpi_environment(&e, &o, "/bin/w", "10.0.0.0/24", "/h", "/dev/shm/x", true);
    assert_string_equal(get(&e, "OMPI_MCA_btl_vader_backing_directory"), "(unset)");
    assert_string_equal(get(&e, "OMPI_MCA_plm_rsh_agent"), "/bin/w rsh");
    assert_string_equal(get(&e, "OMPI_MCA_mpi_yield_when_idle"), "1");
    assert_string_equal(get(&e, "OMPI_ALLOW_RUN_AS_ROOT"), "(unset)");
    o.gang.count = 1;
    o.spec.launcher = LAUNCHER_NONE;
    o.gpus.count = 0;
    struct gang_member alone = {"n0", "10.0.0.1", 1, 0};
    o.gang.items = &alone;
    struct environment unlikely = {.arena = &arena};
    mpi_environment_of_unlikely(&unlikely, &o, "/run/m/42.2/tmp");
    assert_false(mpi_is_likely(&o));
    assert_string_equal(get(&unlikely, "OMPI_MCA_orte_set_default_slots"), "3");   /* one a core that was asked for */
    assert_string_equal(get(&unlikely, "OMPI_MCA_btl_vader_backing_directory"), "/run/m/42.2/tmp");
    o.uid = 0;
    struct environment one = {.arena = &arena};
    mpi_environment(&one, &o, "/bin/w", "10.0.0.0/24", "/h", "/dev/shm/x", false);
    assert_string_equal(get(&one, "OMPI_MCA_btl_vader_backing_directory"), "/dev/shm/x");
    assert_string_equal(get(&one, "OMPI_ALLOW_RUN_AS_ROOT"), "1");
}

static void host_files(void **state) {
    struct buffer b = {0};
    struct start o = order(0);
    mpi_hostfile(&o, &b);
    buffer_append(&b, "", 1);
    assert_string_equal((char *)b.data, "muster-0 slots=2\nmuster-1 slots=3\n");
    buffer_clear(&b);
    o.spec.launcher = LAUNCHER_NONE;   /* a script's own mpirun: a rank a GPU */
    mpi_hostfile(&o, &b);
    buffer_append(&b, "", 1);
    assert_string_equal((char *)b.data, "muster-0 slots=2\nmuster-1 slots=4\n");
    buffer_release(&b);
    assert_int_equal(mpi_host_index("muster-1"), 1);
    assert_int_equal(mpi_host_index("muster-x"), -1);
    assert_int_equal(mpi_host_index("evil.example"), -1);
}

static void output_patterns(void **state) {
    static const char *const rows[][2] = {
        {"", "/home/ada/run/muster-42.out"},
        {"%x-%5j.%N.%n", "/home/ada/run/train-00042.n1.1"},
        {"/abs/%u/%J-%A_%a", "/abs/ada/42.2-42_0"},
        {"100%%%", "/home/ada/run/100%%"},
        {"%q", "/home/ada/run/%q"}};
    struct start o = order(1);
    char path[PATH_MAX];
    for (size_t i = 0; i < COUNT(rows); i++) {
        output_path_expand(&o, "n1", -1, rows[i][0], path);
        assert_string_equal(path, rows[i][1]);
    }
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    output_path_expand(&o, "n1", -1, longest, path);
    assert_in_range(strlen(path), 1, PATH_MAX - 1);
}

static void the_shim_reads_mpiruns_quotes(void **state) {
    size_t count;
    char **w = rsh_split("orted -mca ess \"env\" -mca orte_hnp_uri \"1.0;tcp://127.0.0.1:4000\" 'a b'\\ c ''", &count);
    assert_non_null(w);
    assert_int_equal(count, 9);
    assert_string_equal(w[3], "env");
    assert_string_equal(w[6], "1.0;tcp://127.0.0.1:4000");
    assert_string_equal(w[7], "a b c");
    assert_string_equal(w[8], "");
    rsh_free_words(w);
    assert_null(rsh_split("PATH=/x:$PATH ; orted", &count));   /* only a shell knows what that is */
    assert_null(rsh_split("orted \"open", &count));
}

static int teardown(void **state) {
    arena_release(&arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_contract_is_in_the_environment),
        cmocka_unit_test(what_differs_between_nodes_stays_out_of_mpiruns_environment),
        cmocka_unit_test(host_files),
        cmocka_unit_test(output_patterns),
        cmocka_unit_test(the_shim_reads_mpiruns_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
