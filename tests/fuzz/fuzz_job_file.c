/* Any bytes as a job file. An error has a place in the file; a file that is read passes, or fails, the check of the whole. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job_spec.h"
#include "common/message.h"
#include "tests/fuzz/scratch_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_submittable(struct job_spec *spec, struct arena *arena) {
    struct error err;
    struct buffer out = {0};
    spec->directory = spec->directory[0] ? spec->directory : "/";
    if (job_spec_complete(spec, arena, &err))
        return;
    message_encode(MESSAGE_SUBMIT, 1, 0, spec, &out);
    struct message m;
    assert(!message_decode(out.data, out.size, &m, arena, &err));   /* what we accept, the daemon can read */
    buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = scratch_with(data, size);
    struct arena arena = {0};
    struct job_spec spec;
    struct error err = {0};
    job_spec_init(&spec);
    int rc = job_file_read(path, &spec, &arena, &err);
    if (!rc)
        check_submittable(&spec, &arena);
    else
        assert(!strncmp(err.text, path, strlen(path)) && err.text[strlen(path)] == ':');
    arena_release(&arena);
    return 0;
}
