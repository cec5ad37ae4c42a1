/* PURE: a task's life on its node; see task.h for the picture. */
#include "worker/task.h"

#include <stddef.h>

/* The picture of task.h as a table: the state that follows, and what to do. A zero cell (next PREPARING, nothing) can't be told from
 * "stay", so each cell says whether the event means anything. */
struct move {
    bool legal;
    enum task_state next;
    unsigned actions;
};

static const struct move moves[TASK_STATE_COUNT][TASK_EVENT_COUNT] = {
    [TASK_PREPARING] = {
        [TASK_EVENT_PREPARED] = {true, TASK_READY, TASK_DO_REPORT_READY},
        [TASK_EVENT_STOP] = {true, TASK_STOPPING, TASK_DO_STOP},
        [TASK_EVENT_ENDED] = {true, TASK_EXITED, TASK_DO_REPORT_EXITED},
    },
    [TASK_READY] = {
        [TASK_EVENT_GO] = {true, TASK_STARTING, TASK_DO_LAUNCH},
        [TASK_EVENT_STARTED] = {true, TASK_RUNNING, TASK_DO_REPORT_STARTED},   /* an agent that came back finds it running */
        [TASK_EVENT_STOP] = {true, TASK_STOPPING, TASK_DO_STOP},
        [TASK_EVENT_ENDED] = {true, TASK_EXITED, TASK_DO_REPORT_EXITED},
    },
    [TASK_STARTING] = {
        [TASK_EVENT_STARTED] = {true, TASK_RUNNING, TASK_DO_REPORT_STARTED},
        [TASK_EVENT_STOP] = {true, TASK_STOPPING, TASK_DO_STOP},
        [TASK_EVENT_ENDED] = {true, TASK_EXITED, TASK_DO_REPORT_EXITED},
    },
    [TASK_RUNNING] = {
        [TASK_EVENT_STOP] = {true, TASK_STOPPING, TASK_DO_STOP},
        [TASK_EVENT_ENDED] = {true, TASK_EXITED, TASK_DO_REPORT_EXITED},
    },
    [TASK_STOPPING] = {
        [TASK_EVENT_STOP] = {true, TASK_STOPPING, TASK_DO_STOP},
        [TASK_EVENT_PREPARED] = {true, TASK_STOPPING, TASK_DO_STOP},   /* stopped while it was being prepared */
        [TASK_EVENT_ENDED] = {true, TASK_EXITED, TASK_DO_REPORT_EXITED},
    },
    [TASK_EXITED] = {
        [TASK_EVENT_ACKNOWLEDGED] = {true, TASK_EXITED, TASK_DO_FORGET},
    },
};

void task_init(struct task *t, int64_t job, int64_t attempt, int64_t lease, bool go) {
    *t = (struct task){.job = job, .attempt = attempt, .lease = lease, .go = go, .state = TASK_PREPARING, .checkpointed_step = -1,
                       .yielding_step = -1, .bad_rank = -1, .exit = {.rank = -1, .step = -1}};
}

const char *task_state_name(enum task_state state) {
    static const char *const names[] = {
#define X(name) #name,
        TASK_STATES(X)
#undef X
    };
    return names[state];
}

const char *task_held_state(enum task_state state) {
    switch (state) {
    case TASK_PREPARING: case TASK_READY: return "READY";
    case TASK_STARTING: case TASK_RUNNING: return "RUNNING";
    case TASK_STOPPING: return "STOPPING";
    case TASK_EXITED: case TASK_STATE_COUNT: break;
    }
    return "EXITED";
}

enum task_verdict task_check_order(const struct task *t, int64_t lease, int64_t epoch, int64_t *highest_epoch) {
    if (epoch < *highest_epoch)
        return TASK_STALE_EPOCH;
    if (t && t->lease != lease)
        return TASK_STALE_LEASE;
    *highest_epoch = epoch;
    return TASK_ACCEPT;
}

unsigned task_step(struct task *t, enum task_event event) {
    const struct move *m = &moves[t->state][event];
    if (!m->legal)
        return TASK_DO_NOTHING;
    t->state = m->next;
    unsigned actions = m->actions;
    if (event == TASK_EVENT_PREPARED && t->go && t->state == TASK_READY)
        actions = task_step(t, TASK_EVENT_GO);   /* a gang of one waits for nobody, and its READY would say nothing */
    return actions;
}

unsigned task_stop(struct task *t, int64_t grace_ms) {
    bool shorter = !t->stopped || grace_ms < t->stop_grace_ms;
    if (t->state == TASK_EXITED || !shorter)
        return TASK_DO_NOTHING;
    t->stopped = true;
    t->stop_grace_ms = grace_ms;
    t->request_due_ms = 0;
    return task_step(t, TASK_EVENT_STOP);
}

unsigned task_ask_checkpoint(struct task *t, int64_t request, int64_t grace_ms, int64_t now_ms) {
    if (t->state == TASK_EXITED || t->state == TASK_STOPPING)
        return TASK_DO_NOTHING;
    if (t->request == request)
        return t->answered ? TASK_DO_REPORT_CHECKPOINTED : TASK_DO_NOTHING;
    t->request = request;
    t->answered = false;
    t->request_due_ms = now_ms + grace_ms;
    return TASK_DO_ASK_CHECKPOINT;
}

unsigned task_checkpointed(struct task *t, int64_t request, int64_t step) {
    if (t->state == TASK_EXITED)
        return TASK_DO_NOTHING;
    bool answers = request != 0 && request == t->request && !t->answered;
    if (!answers && step <= t->checkpointed_step)
        return TASK_DO_NOTHING;   /* the other ranks of the same checkpoint */
    t->answered |= answers;
    t->checkpointed_step = step > t->checkpointed_step ? step : t->checkpointed_step;
    return TASK_DO_REPORT_CHECKPOINTED;
}

void task_yielding(struct task *t, int64_t step) {
    if (t->state != TASK_EXITED)
        t->yielding_step = step;
}

unsigned task_rank_ended(struct task *t, int rank, int status, bool terminated) {
    if (status == 0 || terminated || t->stopped || t->bad_rank >= 0 || t->state == TASK_EXITED)
        return TASK_DO_NOTHING;
    t->bad_rank = rank;
    t->bad_status = status;
    t->stop_grace_ms = 0;
    /* The whole gang at once: its peers would wait for this rank in a collective. It isn't Muster's wish, so `stopped` stays unset. */
    return task_step(t, TASK_EVENT_STOP);
}

unsigned task_tick(struct task *t, int64_t now_ms) {
    enum { AFTER_CHECKPOINT_GRACE_MS = 5000 };
    if (t->request_due_ms == 0 || now_ms < t->request_due_ms)
        return TASK_DO_NOTHING;
    t->request_due_ms = 0;
    return task_stop(t, AFTER_CHECKPOINT_GRACE_MS);
}

/* waitpid's status, without its macros' headers: the low 7 bits are the signal, the next byte the code. */
static void decode_status(int status, struct task_exit *e) {
    int signal_number = status & 0x7f;
    e->kind = signal_number ? EXIT_SIGNAL : EXIT_CODE;
    e->status = signal_number ? signal_number : status >> 8 & 0xff;
}

unsigned task_ended(struct task *t, bool ran, bool lost, bool stopped_by_launcher, int status, bool has_main) {
    if (t->state == TASK_EXITED)
        return TASK_DO_NOTHING;
    struct task_exit e = {.rank = -1, .step = t->checkpointed_step};
    decode_status(status, &e);
    if (lost) {
        e.kind = EXIT_LOST;
    } else if (ran && status == 0 && t->yielding_step >= 0) {
        e.kind = EXIT_YIELDED;
        e.step = t->yielding_step;
    } else if (t->bad_rank >= 0) {
        decode_status(t->bad_status, &e);
        e.rank = t->bad_rank;
    } else if (t->stopped || stopped_by_launcher) {
        e.kind = EXIT_STOPPED;
    } else if (!ran && has_main) {
        e.kind = EXIT_UNLAUNCHED;
    }
    t->exit = e;
    return task_step(t, TASK_EVENT_ENDED);
}
