/* mpirun's way to the other nodes of its gang; see relay.h. The same command twice in one attempt is one order: mpirun puts its own job
 * number and the daemon's into it, so that two different ones never read the same. */
#include "worker/relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "common/xmalloc.h"
#include "worker/mpi.h"
#include "worker/report.h"

/* ---- the process, on whichever node ---- */

static uint64_t hash_command(const struct texts *command) {
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < command->count; i++)
        for (const char *s = command->items[i];; s++) {
            hash = (hash ^ (unsigned char)*s) * 1099511628211u;
            if (!*s)
                break;
        }
    return hash;
}

static struct relayed_process *find_slot(struct agent_task *t, int slot) {
    int i = slot - SLOT_RELAYED;
    return i >= 0 && (size_t)i < t->relayed_count ? &t->relayed[i] : NULL;
}

static int exit_code_of(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void tell_shim(struct connection *c, int status, const char *text) {
    if (c)
        report_send(c, json_pack("{s:s, s:i, s:s}", "type", "relayed", "status", status, "text", text));
}

static void report_process(struct agent *a, struct agent_task *t, struct relayed_process *p) {
    if (p->asker) {
        tell_shim(p->asker, p->status, p->text);
        return;
    }
    struct relayed m = {t->task.job, t->task.attempt, t->task.lease, p->status, p->text};
    if (p->reply_to)
        agent_send(a, MESSAGE_RELAYED, 0, p->reply_to, &m);
}

/* Runs the command in this node's task. A repeated order finds the process of the first. */
static int run_here(struct agent *a, struct agent_task *t, const struct texts *command, struct connection *asker, int64_t reply_to,
                    struct error *err) {
    uint64_t hash = hash_command(command);
    for (size_t i = 0; i < t->relayed_count; i++)
        if (t->relayed[i].command_hash == hash) {
            t->relayed[i].reply_to = reply_to;
            if (t->relayed[i].ended)
                report_process(a, t, &t->relayed[i]);
            return 0;
        }
    if (t->task.state == TASK_PREPARING || t->task.state == TASK_STOPPING || t->task.state == TASK_EXITED)
        return error_set(err, ERR_STALE, "task %" PRId64 ".%" PRId64 " on %s is %s", t->task.job, t->task.attempt, a->options.name,
                         task_state_name(t->task.state));
    if (t->relayed_count == RELAYS_MAX)
        return error_set(err, ERR_BUSY, "task %" PRId64 ".%" PRId64 " has started %d MPI daemons on %s; that is the limit", t->task.job,
                         t->task.attempt,
                         RELAYS_MAX, a->options.name);
    int slot = SLOT_RELAYED + (int)t->relayed_count;
    if (agent_launch_relayed(a, t, command, slot, asker != NULL, err) != 0)
        return err->code;
    t->relayed[t->relayed_count++] = (struct relayed_process){.slot = slot, .command_hash = hash, .asker = asker, .reply_to = reply_to};
    log_info("relay_started", "task=%" PRId64 ".%" PRId64 " command=%s", t->task.job, t->task.attempt, command->items[0]);
    return 0;
}

static void process_over(struct agent *a, struct agent_task *t, struct relayed_process *p, int status, const char *text) {
    p->ended = true;
    p->status = status;
    text_copy(p->text, sizeof p->text, text);
    report_process(a, t, p);
}

void relay_failed(struct agent *a, struct agent_task *t, int slot, const char *text) {
    struct relayed_process *p = find_slot(t, slot);
    if (p && !p->ended)
        process_over(a, t, p, 127, text);
}

void relay_ended(struct agent *a, struct agent_task *t, int slot, int status) {
    struct relayed_process *p = find_slot(t, slot);
    if (p && !p->ended)
        process_over(a, t, p, exit_code_of(status), "");
}

/* ---- at the head ---- */

static void send_relay(struct agent *a, const struct agent_task *t, struct relay_request *r) {
    const struct gang_member *gang = t->order->gang.items;
    struct relay m = {.epoch = a->epoch, .job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease,
                      .node = gang[r->peer].node, .command = r->command};
    r->owed.id = agent_send(a, MESSAGE_RELAY, r->owed.id, 0, &m);
    r->owed.due_ms = clock_boot_ms() + RESEND_MS;
}

static void free_request(struct relay_request *r) {
    for (size_t i = 0; i < r->command.count; i++)
        free((char *)(uintptr_t)r->command.items[i]);
    free(r->command.items);
    free(r);
}

static struct texts copy_command(const json_t *list) {
    struct texts out = {0, xcalloc(json_array_size(list) + 1, sizeof *out.items)};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        if (word)
            out.items[out.count++] = xstrdup(word);
    }
    return out;
}

void relay_asked(struct agent *a, struct connection *c, const json_t *message) {
    struct agent_task *t = c->task;
    struct error err;
    const char *host = json_string_value(json_object_get(message, "host"));
    int peer = host ? mpi_host_index(host) : -1;
    c->internal = true;
    struct relay_request *r = xcalloc(1, sizeof *r);
    r->command = copy_command(json_object_get(message, "command"));
    r->asker = c;
    r->peer = peer;
    char text[256];
    if (peer < 0 || (size_t)peer >= t->order->gang.count || r->command.count == 0) {
        snprintf(text, sizeof text, "'%.64s' is not a node of job %" PRId64 ": mpirun's --host and --hostfile can't leave the allocation",
                 host ? host : "", t->task.job);
        tell_shim(c, 1, text);
        free_request(r);
    } else if (peer == t->order->node_rank) {
        if (run_here(a, t, &r->command, c, 0, &err) != 0)
            tell_shim(c, 1, err.text);
        free_request(r);
    } else {
        r->next = t->relay_requests;
        t->relay_requests = r;
        send_relay(a, t, r);
    }
}

static void end_request(struct agent_task *t, struct relay_request *r, int status, const char *text) {
    struct relay_request **at = &t->relay_requests;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    tell_shim(r->asker, status, text);
    free_request(r);
}

/* DONE: the peer has it; FAILURE: it never will; RELAYED: it has ended. */
bool relay_answered(struct agent *a, const struct message *m) {
    for (struct agent_task *t = a->tasks; t; t = t->next)
        for (struct relay_request *r = t->relay_requests; r; r = r->next) {
            if (r->owed.id != m->reply_to || m->reply_to == 0)
                continue;
            const struct failure *failure = m->record;
            const struct relayed *relayed = m->record;
            if (m->type == MESSAGE_FAILURE && failure->code == ERR_BUSY)
                return true;   /* it will be said again */
            r->owed.due_ms = 0;
            if (m->type == MESSAGE_FAILURE)
                end_request(t, r, 1, failure->text);
            else if (m->type == MESSAGE_RELAYED)
                end_request(t, r, (int)relayed->status, relayed->text);
            return true;
        }
    return false;
}

void relay_resend(struct agent *a, int64_t now_ms) {
    for (struct agent_task *t = a->tasks; t; t = t->next)
        for (struct relay_request *r = t->relay_requests; r; r = r->next)
            if (r->owed.due_ms && now_ms >= r->owed.due_ms)
                send_relay(a, t, r);
}

void relay_asker_gone(struct agent_task *t, struct connection *c) {
    for (struct relay_request *r = t->relay_requests; r; r = r->next)
        if (r->asker == c)
            r->asker = NULL;
    for (size_t i = 0; i < t->relayed_count; i++)
        if (t->relayed[i].asker == c)
            t->relayed[i].asker = NULL;
}

void relay_release(struct agent_task *t) {
    while (t->relay_requests) {
        struct relay_request *r = t->relay_requests;
        t->relay_requests = r->next;
        free_request(r);
    }
}

/* ---- at the peer ---- */

void relay_take(struct agent *a, const struct message *m) {
    const struct relay *order = m->record;
    struct error err = {0};
    struct agent_task *t = agent_task_find(a, order->job, order->attempt);
    if (!t || task_check_order(&t->task, order->lease, order->epoch, &a->epoch) != TASK_ACCEPT)
        error_set(&err, ERR_STALE, "task %" PRId64 ".%" PRId64 " isn't held on %s under lease %" PRId64, order->job, order->attempt,
                  a->options.name, order->lease);
    else if (order->command.count == 0)
        error_set(&err, ERR_INVALID, "an empty command was relayed to %s", a->options.name);
    else
        run_here(a, t, &order->command, NULL, m->id, &err);
    if (err.code != 0) {
        struct failure f = {err.code, err.text};
        agent_send(a, MESSAGE_FAILURE, 0, m->id, &f);
    } else {
        struct done d = {.count = 1, .text = ""};
        agent_send(a, MESSAGE_DONE, 0, m->id, &d);
    }
}
