/* The operations of decoding, each against its definition in double; and that a row is the same, to the bit, with any others beside it.
 * Tests of test_cuda.c. */
#ifndef TESTS_UNIT_JOBS_CUDA_DECODING_H
#define TESTS_UNIT_JOBS_CUDA_DECODING_H

void reserved_memory_can_be_written(void **state);
void decoding_embeds_at_positions(void **state);
void decoding_multiplies(void **state);
void decoding_has_its_gelu_in_place(void **state);
void logits_come_to_who_wants_them(void **state);
void the_cache_takes_keys_and_values(void **state);
void paged_attention_is_its_formula(void **state);
void paged_heads_that_are_too_wide_are_refused(void **state);
void a_row_of_decoding_is_the_same_in_any_batch(void **state);

#endif
