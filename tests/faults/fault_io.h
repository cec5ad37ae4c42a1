/* How a test steers the shim that sits between musterd and the files of its store (fault_io.c): one struct in a shared file. */
#ifndef TESTS_FAULTS_FAULT_IO_H
#define TESTS_FAULTS_FAULT_IO_H

#include <stdatomic.h>
#include <stdint.h>

#define FAULT_IO_VARIABLE "MUSTER_FAULT_IO" /* the path of the shared file */

enum fault_kind {
    FAULT_ONCE,   /* the Nth call fails with EIO, those after it do not */
    FAULT_STICKY, /* the Nth and all after it fail, until healed */
    FAULT_TORN,   /* the Nth writes a part of its bytes and fails */
    FAULT_FULL,   /* from the Nth on nothing grows (ENOSPC), until healed; a sync works */
    FAULT_KINDS
};

struct fault_control {
    atomic_llong calls;   /* writes, syncs, truncations and removals so far */
    atomic_llong fail_at; /* the number of the first that fails; 0: none */
    atomic_int kind;
    atomic_llong injected;
    atomic_int record;     /* 1: what is done is appended to the file of `journal` */
    atomic_llong recorded; /* entries in it */
    char folder[112];      /* only files STATE/muster.db* are touched */
    char journal[112];
};

/* The journal: an entry is this and then `size` bytes for a write. File 0: muster.db; 1: its write-ahead log; 2: the folder. */
enum journal_kind { JOURNAL_WRITE, JOURNAL_TRUNCATE, JOURNAL_SYNC, JOURNAL_REMOVE };
enum { JOURNAL_DATABASE, JOURNAL_LOG, JOURNAL_FOLDER, JOURNAL_FILES };
struct __attribute__((packed)) journal_entry {
    int32_t kind, file;
    int64_t offset, size;
};

#endif
