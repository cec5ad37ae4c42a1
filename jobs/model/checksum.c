/* Eight bytes a turn through eight tables ("slicing by 8", Kounavis and Berry, 2005): about 2 GB/s, so a checksum costs less than the
 * disk. What a training waits for is summed four words at a time, in two sums of which one weighs by position (Fletcher, 1982). */
#include "jobs/model/checksum.h"

#include <pthread.h>
#include <string.h>

static uint32_t tables[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t sum = byte;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
        tables[0][byte] = sum;
    }
    for (int t = 1; t < 8; t++)
        for (int byte = 0; byte < 256; byte++)
            tables[t][byte] = tables[t - 1][byte] >> 8 ^ tables[0][tables[t - 1][byte] & 0xff];
}

static uint32_t little_endian(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

uint32_t checksum_add(uint32_t sum, const void *data, size_t size) {
    pthread_once(&once, fill_tables);
    const uint8_t *p = data;
    sum = ~sum;
    for (; size >= 8; p += 8, size -= 8) {
        uint32_t low = little_endian(p) ^ sum, high = little_endian(p + 4);
        sum = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^
              tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^ tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    for (; size > 0; p++, size--)
        sum = sum >> 8 ^ tables[0][(sum ^ *p) & 0xff];
    return ~sum;
}

enum { LANES = 16 };

uint32_t checksum_floats(const float *values, size_t count) {
    uint32_t sums[2][LANES] = {0};
    size_t whole = count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        uint32_t words[LANES];
        memcpy(words, values + i, sizeof words);
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            sums[0][l] += words[l];
            sums[1][l] += sums[0][l];
        }
    }
    return checksum_add(checksum_add(0, sums, sizeof sums), values + whole, (count - whole) * sizeof *values);
}
