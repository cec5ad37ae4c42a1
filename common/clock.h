/* Time enters the programs here, and nowhere else. Pure code takes the time as an argument. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_boot_ms(void);    /* CLOCK_BOOTTIME: goes on in suspend, never back; zero at boot */
int64_t clock_boot_us(void);
int64_t clock_wall_ms(void);    /* unix time, for display, --begin and MUSTER_DEADLINE */
void clock_sleep_ms(int64_t ms);
const char *clock_boot_id(void);   /* the kernel's boot id, 36 characters; a new one means that nothing of before lives */
const char *clock_format_wall(int64_t wall_ms, char *buffer, size_t size);   /* "2026-11-22 14:03:07", local time */

#endif
