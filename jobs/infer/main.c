/* muster-infer: read this first, then infer.c. */
#include <omp.h>
#include <stdio.h>

#include "common/version.h"
#include "jobs/backend/gpu_library.h"
#include "jobs/infer/infer.h"

enum { EXIT_USAGE = 2 };

int main(int argc, char **argv) {
    struct infer_settings settings;
    struct harness harness;
    struct collective group;
    struct error err;

    if (infer_settings_parse(&settings, argc, argv, &err) < 0) {
        fprintf(stderr, "muster-infer: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (settings.help || settings.version) {
        if (settings.help)
            infer_settings_help();
        else
            puts(muster_version);
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    omp_set_num_threads((int)settings.threads);
    harness_init(&harness, false);
    /* Generating sums nothing over the ranks, so it needs no NCCL; the GPUs wait for kernels of their own. */
    enum collective_kind kind = collective_is_launched() ? COLLECTIVE_MPI : COLLECTIVE_LOCAL;
    int rc = collective_open(&group, kind, false, harness.world_size, harness.local_rank, &err);
    if (rc == 0 && group.rank == 0 && gpu_is_allocated())
        fprintf(stderr, "warning: real GPUs are allocated, but this version generates on the CPUs\n");
    if (rc == 0)
        rc = infer_run(&settings, &harness, &group, &err);
    if (rc < 0 && err.text[0] != '\0')
        fprintf(stderr, "muster-infer: rank %d: %s\n", group.rank, err.text);
    harness_release(&harness);
    if (rc < 0 && group.broken)
        collective_abort(&group, error_exit_code(rc));
    collective_close(&group);
    return rc < 0 ? error_exit_code(rc) : 0;
}
