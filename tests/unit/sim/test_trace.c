/* The parts of a trace's replay: the heap against a plain search, packing and owed jobs on numbers that fit on a page. */
#include "scheduler/sim/trace_heap.h"
#include "scheduler/sim/trace_owed.h"
#include "tests/unit/unit.h"

enum { ITEMS = 40, STEPS = 20000 };

static int32_t first_of(const int64_t at[ITEMS]) {
    int32_t first = -1;
    for (int32_t i = 0; i < ITEMS; i++)
        if (at[i] >= 0 && (first < 0 || at[i] < at[first]))
            first = i;
    return first;
}

static void the_heap_agrees_with_a_search(void **state) {
    struct trace_heap h;
    int64_t at[ITEMS];
    uint64_t random = 7;
    (void)state;
    trace_heap_init(&h, ITEMS);
    memset(at, -1, sizeof at);
    for (int k = 0; k < STEPS; k++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int32_t item = (int32_t)(random >> 33) % ITEMS;
        if (random >> 60 < 5) {
            trace_heap_remove(&h, item);
            at[item] = -1;
        } else {
            at[item] = (int64_t)(random >> 40) % 50;
            trace_heap_set(&h, item, at[item]);
        }
        assert_int_equal(trace_heap_first(&h), first_of(at));
    }
    trace_heap_release(&h);
}

static void a_partition_holds_what_can_be_packed(void **state) {
    (void)state;
    assert_true(packing_fits(&(struct packing){.whole = 2}, 16, 8));
    assert_false(packing_fits(&(struct packing){.whole = 2}, 15, 8));
    assert_true(packing_fits(&(struct packing){.whole = 1, .pieces = {[4] = 1, [3] = 1}}, 15, 8));
    assert_false(packing_fits(&(struct packing){.pieces = {[5] = 3}}, 16, 8));   /* 15 of 16 GPUs, and yet not */
    assert_true(packing_fits(&(struct packing){.pieces = {[4] = 1, [1] = 4}}, 8, 8));
    assert_false(packing_fits(&(struct packing){.pieces = {[5] = 1}}, 4, 8));
}

/* Guaranteed 8: a job of 6, one of 4, one of 2 wait. 6 and 2 are owed; the 4 is passed over until the 6 has ended. */
static void owed_jobs_are_counted_in_order(void **state) {
    struct trace_job jobs[] = {{.gpus = 6}, {.gpus = 4}, {.gpus = 2}};
    struct trace_queue queue = {.guarantee = 8};
    struct trace t = {.jobs = jobs, .job_count = 3, .queues = &queue, .queue_count = 1, .nodes = 2, .gpus_per_node = 8};
    struct owed o;
    (void)state;
    owed_init(&o, &t, 60);
    for (int32_t i = 0; i < 3; i++)
        owed_add(&o, i);
    owed_count(&o, 0);
    owed_pass_time(&o, 0, 100);
    assert_int_equal(o.violation_ms, 40);
    owed_start(&o, 0);
    owed_start(&o, 2);
    owed_count(&o, 100);
    owed_pass_time(&o, 100, 500);   /* 8 of 8 run: nobody is owed */
    assert_int_equal(o.violation_ms, 40);
    owed_end(&o, 0);
    owed_count(&o, 500);
    owed_pass_time(&o, 500, 570);
    assert_int_equal(o.violation_ms, 50);
    owed_release(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heap_agrees_with_a_search),
        cmocka_unit_test(a_partition_holds_what_can_be_packed),
        cmocka_unit_test(owed_jobs_are_counted_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
