/* CRC-32 as zlib and zip compute it, so that `python3 -c 'import zlib'` can check a file too. Against accidents, not against attackers. */
#ifndef JOBS_MODEL_CHECKSUM_H
#define JOBS_MODEL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Start with 0, and give the result of one piece to the next. */
uint32_t checksum_add(uint32_t sum, const void *data, size_t size);

/* Another checksum, of floats as they lie in memory, at the speed of reading them: for comparing copies, not for files. */
uint32_t checksum_floats(const float *values, size_t count);

#endif
