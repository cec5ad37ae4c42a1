/* Which of the kernels' versions this machine runs. */
#ifndef JOBS_KERNELS_INSTRUCTIONS_H
#define JOBS_KERNELS_INSTRUCTIONS_H

/* What decides the bits of a result, whatever the number of threads: "x86-64-v4 kernels, avx512 products". Returns buffer. */
const char *kernels_instructions(char *buffer, unsigned long size);

#endif
