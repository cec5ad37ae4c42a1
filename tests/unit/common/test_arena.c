#include "tests/unit/unit.h"

#include "common/arena.h"

static void memory_is_zeroed_aligned_and_apart(void **state) {
    struct arena a = {0};
    unsigned char *before = NULL;
    for (size_t size = 0; size < 300; size++) {
        unsigned char *p = arena_alloc(&a, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
        if (before && size > 1)
            assert_int_equal(before[size - 2], 0xff);
        before = p;
    }
    arena_release(&a);
}

static void large_pieces_fit(void **state) {
    struct arena a = {0};
    char *small = arena_alloc(&a, 10), *large = arena_alloc(&a, 1 << 20);
    memset(large, 1, 1 << 20);
    memset(small, 2, 10);
    assert_int_equal(large[0], 1);
    assert_int_equal(arena_used(&a), (1 << 20) + 16);
    arena_release(&a);
    assert_int_equal(arena_used(&a), 0);
}

static void a_reset_arena_uses_its_memory_again_and_zeroes_it(void **state) {
    struct arena a = {0};
    char *first = arena_alloc(&a, 100);
    memset(first, 7, 100);
    for (int i = 0; i < 100; i++)
        arena_alloc(&a, 8192);
    arena_reset(&a);
    assert_int_equal(arena_used(&a), 0);
    char *again = arena_alloc(&a, 100);
    assert_ptr_equal(again, first);
    assert_int_equal(again[99], 0);
    arena_release(&a);
}

static void copies_end_with_a_zero(void **state) {
    struct arena a = {0};
    assert_memory_equal(arena_copy(&a, "abc\0d", 5), "abc\0d\0", 6);
    assert_string_equal(arena_copy(&a, NULL, 0), "");
    assert_non_null(arena_array(&a, 0, 8));
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_is_zeroed_aligned_and_apart), cmocka_unit_test(large_pieces_fit),
                                       cmocka_unit_test(a_reset_arena_uses_its_memory_again_and_zeroes_it),
                                       cmocka_unit_test(copies_end_with_a_zero)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
