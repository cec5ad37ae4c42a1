/* muster-infer: read this first, then infer.c. */
#include <omp.h>
#include <stdio.h>

#include "common/version.h"
#include "jobs/infer/infer.h"

enum { EXIT_USAGE = 2 };

static int infer(const struct infer_settings *s, struct harness *h, struct collective *group, struct error *err) {
    struct backend backend;
    int rc = collective_agree(group, backend_open(&backend, s->where, BACKEND_FP32, h->local_rank, err), err);
    if (rc == 0)
        rc = infer_run(s, h, group, &backend, err);
    backend_close(&backend);
    return rc;
}

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
    /* Generating sums nothing over the ranks, so it needs no NCCL. */
    struct collective_options together = {.kind = collective_is_launched() ? COLLECTIVE_MPI : COLLECTIVE_LOCAL,
                                          .world_size = harness.world_size, .local_rank = harness.local_rank,
                                          .timeout_s = (int)settings.collective_timeout};
    int rc = collective_open(&group, &together, &err);
    if (rc == 0)
        rc = infer(&settings, &harness, &group, &err);
    if (rc < 0 && err.text[0] != '\0')
        fprintf(stderr, "muster-infer: rank %d: %s\n", group.rank, err.text);
    harness_release(&harness);
    if (rc < 0 && group.broken)
        collective_abort(&group, error_exit_code(rc));
    collective_close(&group);
    return rc < 0 ? error_exit_code(rc) : 0;
}
