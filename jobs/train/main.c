/* muster-train: read this first, then train.c; of muster-train tokenize, tokenize.c. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/version.h"
#include "jobs/train/tokenize.h"
#include "jobs/train/train.h"

enum { EXIT_USAGE = 2 };

/* The node's cores are shared among its ranks. */
static void choose_threads(int64_t asked) {
    const char *ranks = getenv("LOCAL_WORLD_SIZE");
    if (!ranks)
        ranks = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    long local = ranks ? strtol(ranks, NULL, 10) : 1, cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (asked > 0)
        omp_set_num_threads((int)asked);
    else if (!getenv("OMP_NUM_THREADS"))
        omp_set_num_threads(local > 0 && cores / local > 1 ? (int)(cores / local) : 1);
}

static const char *device_text(const struct backend *b, char *buffer, size_t size) {
    int threads = omp_get_max_threads();
    if (b->kind == BACKEND_CPU)
        snprintf(buffer, size, "cpu: %s, %d thread%s", b->device, threads, threads == 1 ? "" : "s");
    else
        snprintf(buffer, size, "cuda: %s, %s", b->device, b->precision == BACKEND_BF16 ? "bf16" : "fp32");
    return buffer;
}

static void print_start(const struct trainer *t) {
    char model[256], where[96], data[96];
    if (t->harness->job > 0)   /* the output of several attempts may stand in one file */
        printf("job %lld, attempt %lld\n", (long long)t->harness->job, (long long)t->harness->attempt);
    printf("training %s: %lld parameters on %d rank%s (%s), %s; %s\n",
           model_config_text(&t->settings->model, model, sizeof model), (long long)t->model.trained, t->group->size,
           t->group->size == 1 ? "" : "s", t->group->way->name, device_text(t->backend, where, sizeof where),
           dataset_text(&t->data, data, sizeof data));
    if (t->group->kind == COLLECTIVE_NCCL && t->backend->kind == BACKEND_CPU)
        printf("the gradients are summed on the GPUs; the model computes on the CPUs\n");
}

static int train(const struct train_settings *s, struct harness *h, struct collective *group, struct error *err) {
    struct trainer trainer;
    struct backend backend;
    int rc = collective_agree(group, backend_open(&backend, s->where, s->rounding, h->local_rank, err), err);
    if (rc == 0) {
        rc = trainer_open(&trainer, s, h, group, &backend, err);
        if (rc == 0 && group->rank == 0)
            print_start(&trainer);
        if (rc == 0)
            rc = trainer_run(&trainer, err);
        trainer_close(&trainer);
    }
    backend_close(&backend);
    return rc;
}

int main(int argc, char **argv) {
    struct train_settings settings;
    struct harness harness;
    struct collective group;
    struct error err;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && !strcmp(argv[1], "tokenize"))
        return tokenize_main(argc - 1, argv + 1);
    if (settings_parse(&settings, argc, argv, &err) < 0) {
        fprintf(stderr, "muster-train: %s\n", err.text);
        return EXIT_USAGE;
    }
    harness_init(&harness, settings.checkpoint != NULL);
    if (settings.help || settings.version || settings.dry_run) {
        if (settings.help)
            settings_help();
        else if (settings.version)
            puts(muster_version);
        else
            trainer_print_plan(&settings, harness.world_size);
        return 0;
    }
    choose_threads(settings.threads);
    int rc = collective_open(&group, settings.kind, settings.where == BACKEND_CUDA, harness.world_size, harness.local_rank, &err);
    if (rc == 0)
        rc = train(&settings, &harness, &group, &err);
    if (rc < 0 && err.text[0] != '\0')
        fprintf(stderr, "muster-train: rank %d: %s\n", group.rank, err.text);
    harness_release(&harness);
    if (rc < 0 && group.broken)
        collective_abort(&group, error_exit_code(rc));
    collective_close(&group);
    return rc < 0 ? error_exit_code(rc) : 0;
}
