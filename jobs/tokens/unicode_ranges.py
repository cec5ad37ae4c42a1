#!/usr/bin/env python3
"""Prints jobs/tokens/unicode_ranges.h: the letters and numbers of Unicode (general categories L* and N*) as ranges of code points.

    python3 jobs/tokens/unicode_ranges.py >jobs/tokens/unicode_ranges.h

The Unicode version is that of this Python's unicodedata; it is in the file's first line.
"""
import sys
import unicodedata


def ranges(category):
    found = []
    for point in range(sys.maxunicode + 1):
        if unicodedata.category(chr(point))[0] == category:
            if found and found[-1][1] == point - 1:
                found[-1][1] = point
            else:
                found.append([point, point])
    return found


def print_table(name, category):
    print(f"\nstatic const struct unicode_range {name}[] = {{")
    line = "   "
    for first, last in ranges(category):
        item = f" {{{first:#x}, {last:#x}}},"
        if len(line) + len(item) > 140:
            print(line)
            line = "   "
        line += item
    print(f"{line}\n}};")


version = unicodedata.unidata_version
print(f"/* The letters and numbers of Unicode {version}, in order. Written by unicode_ranges.py; included by unicode.c. */")
print_table("letters", "L")
print_table("numbers", "N")
