/* Invariant: between start and wait the copy belongs to the thread; otherwise it belongs to the caller. */
#include "jobs/model/checkpoint_writer.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"

enum { ARRAYS = 3 };

struct checkpoint_writer {
    const char *dir;
    int64_t keep;
    struct checkpoint_state state;
    struct model model;
    float *momentum, *variance;

    bool started, has_thread;
    pthread_t thread;
    atomic_bool done;
    int rc;
    struct error err;
    int64_t write_us;
};

/* Touched, so that the first copy doesn't have to find the pages. */
static float *array_new(int64_t count) {
    float *array = xmalloc((size_t)count * sizeof *array);
    return memset(array, 0, (size_t)count * sizeof *array);
}

struct checkpoint_writer *checkpoint_writer_new(const char *dir, int64_t keep, const struct model_config *config) {
    struct checkpoint_writer *w = xcalloc(1, sizeof *w);
    w->dir = dir;
    w->keep = keep;
    model_init_layout(&w->model, config);
    w->model.weights = array_new(w->model.count);
    w->momentum = array_new(w->model.count);
    w->variance = array_new(w->model.count);
    return w;
}

void checkpoint_writer_free(struct checkpoint_writer *w) {
    if (!w)
        return;
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    free(w->model.weights);
    free(w->momentum);
    free(w->variance);
    free(w);
}

int64_t checkpoint_writer_bytes(const struct model *m) { return ARRAYS * m->count * (int64_t)sizeof(float); }

static void *write_copy(void *argument) {
    struct checkpoint_writer *w = argument;
    int64_t begin_us = clock_boot_us();
    w->rc = checkpoint_write(w->dir, w->keep, &w->state, &w->model, w->momentum, w->variance, &w->err);
    w->write_us = clock_boot_us() - begin_us;
    atomic_store(&w->done, true);
    return NULL;
}

/* Signals are for the thread that trains. */
static bool start_thread(struct checkpoint_writer *w) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&w->thread, NULL, write_copy, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

int checkpoint_writer_start(struct checkpoint_writer *w, const struct checkpoint_state *state, const struct model *m,
                            const float *momentum, const float *variance, struct error *err) {
    assert(!w->started && m->count == w->model.count);
    w->state = *state;
    const float *from[ARRAYS] = {m->weights, momentum, variance};
    float *to[ARRAYS] = {w->model.weights, w->momentum, w->variance};
    for (int i = 0; i < ARRAYS; i++)
        m->backend->operations->download(to[i], from[i], (size_t)m->count * sizeof(float));
    int rc = m->backend->operations->finish(err);
    if (rc < 0)
        return rc;
    w->started = true;
    atomic_store(&w->done, false);
    w->has_thread = start_thread(w);
    if (!w->has_thread)   /* no more threads for this user: then the training waits for its checkpoint */
        write_copy(w);
    return 0;
}

bool checkpoint_writer_done(const struct checkpoint_writer *w) { return w->started && atomic_load(&w->done); }

int checkpoint_writer_wait(struct checkpoint_writer *w, int64_t *write_us, struct error *err) {
    assert(w->started);
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    w->started = w->has_thread = false;
    *write_us = w->write_us;
    *err = w->err;
    return w->rc;
}
