/* Random numbers without state: each is a function of what it is for (a seed and two counters), so that nothing has to be stored in a
 * checkpoint or moved between ranks, and any rank can compute any of them. The mixer is splitmix64's (Steele, Lea and Flood, 2014). */
#ifndef JOBS_MODEL_RANDOM_H
#define JOBS_MODEL_RANDOM_H

#include <stdint.h>

uint64_t random_bits(uint64_t seed, uint64_t a, uint64_t b);
double random_unit(uint64_t seed, uint64_t a, uint64_t b);     /* in [0, 1) */
float random_normal(uint64_t seed, uint64_t a, uint64_t b);    /* mean 0, deviation 1 */
uint64_t random_below(uint64_t bound, uint64_t seed, uint64_t a, uint64_t b);   /* in [0, bound), bound > 0 */

#endif
