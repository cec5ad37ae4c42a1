#include "jobs/model/random.h"

#include <math.h>

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t random_bits(uint64_t seed, uint64_t a, uint64_t b) { return mix(mix(mix(seed) ^ a) ^ b); }

double random_unit(uint64_t seed, uint64_t a, uint64_t b) { return (double)(random_bits(seed, a, b) >> 11) * 0x1p-53; }

/* Box and Muller, 1958. The two halves of one draw are the two uniform numbers. */
float random_normal(uint64_t seed, uint64_t a, uint64_t b) {
    uint64_t bits = random_bits(seed, a, b);
    double u = ((double)(bits >> 32) + 1.0) * 0x1p-32, v = (double)(bits & 0xffffffffu) * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

/* The high half of a product is uniform to within bound / 2^64. */
uint64_t random_below(uint64_t bound, uint64_t seed, uint64_t a, uint64_t b) {
    return (uint64_t)(((unsigned __int128)random_bits(seed, a, b) * bound) >> 64);
}
