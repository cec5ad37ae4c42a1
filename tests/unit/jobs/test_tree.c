/* The tree of sums: whatever the ranks, their blocks are aligned, lie side by side, and lead to the one root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jobs/collective/tree.h"

static void blocks_of_all_ranks_cover_the_shards(void **state) {
    for (int shards = 1; shards <= TREE_SHARDS_MAX; shards *= 2)
        for (int ranks = 1; ranks <= shards; ranks += ranks < 20 ? 1 : 37) {
            int at = 0;
            for (int rank = 0; rank < ranks; rank++) {
                struct tree_block blocks[TREE_BLOCKS_MAX];
                int first, count, used = tree_blocks(shards, ranks, rank, blocks), begin = at;
                tree_share(shards, ranks, rank, &first, &count);
                assert_int_equal(at, first);
                for (int b = 0; b < used; at += blocks[b++].count) {
                    assert_int_equal(blocks[b].first, at);
                    assert_int_equal(blocks[b].count & (blocks[b].count - 1), 0);
                    assert_int_equal(at % blocks[b].count, 0);
                }
                assert_int_equal(at - begin, count);
                assert_true(count > 0 && used <= tree_most_blocks(shards, ranks, rank));
                assert_true(tree_most_blocks(shards, ranks, rank) <= TREE_BLOCKS_MAX);
            }
            assert_int_equal(at, shards);
        }
}

/* Numbers whose sum depends on the order: only the tree's gives this one. */
static void a_rank_sums_in_the_order_of_the_tree(void **state) {
    enum { SHARDS = 8 };
    static const float values[SHARDS] = {1e8f, 1, -1e8f, 1, 3e-3f, 1e7f, 1, -1e7f};
    float level[SHARDS];
    struct collective alone = {.size = 1};
    struct tree_sum sum;
    tree_init(&sum, &backend_cpu, &alone, SHARDS, 1, NULL);
    for (int s = 0; s < SHARDS; s++) {
        *tree_next(&sum, s) += level[s] = values[s];
        tree_added(&sum);
    }
    for (int width = 1; width < SHARDS; width *= 2)
        for (int s = 0; s < SHARDS; s += 2 * width)
            level[s] += level[s + width];
    assert_int_equal(sum.used, 1);
    assert_true(sum.arrays[0][0] == level[0]);
    tree_release(&sum);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_all_ranks_cover_the_shards),
        cmocka_unit_test(a_rank_sums_in_the_order_of_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
