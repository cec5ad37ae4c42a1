/* `muster run --pty`. Each TERMINAL is answered by one TERMINAL_DATA: at once where there is output, else when there is, at the latest
 * after a second. Output is read from the terminal only when somebody asks, so a client that doesn't read slows its own program and
 * nobody else. */
#include "worker/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/clock.h"

enum { HOLD_MS = 1000 };

static void send_data(struct agent *a, struct agent_task *t, const char *data, size_t size, bool end) {
    struct terminal_data m = {.data = {size, data}, .end = end};
    agent_send(a, MESSAGE_TERMINAL_DATA, 0, t->terminal_reader, &m);
    t->terminal_reader = 0;
}

/* Answers the waiting reader if the terminal has something, or is at its end. */
static void pump(struct agent *a, struct agent_task *t) {
    static char data[LOG_CHUNK_MAX_BYTES];
    if (t->terminal_reader == 0)
        return;
    ssize_t n = t->terminal.fd >= 0 ? read(t->terminal.fd, data, sizeof data) : -1;
    if (n > 0) {
        send_data(a, t, data, (size_t)n, false);
    } else if (t->terminal.fd < 0 || n == 0 || (errno != EAGAIN && errno != EINTR)) {
        t->terminal_closed = true;   /* EIO: nobody holds the other end */
        if (t->task.state == TASK_EXITED) {
            send_data(a, t, "", 0, true);
            if (t->exited.due_ms && t->exited.id == 0)
                t->exited.due_ms = clock_boot_ms();
        }
    }
}

static void terminal_ready(struct agent *a, struct watch *w, uint32_t events) {
    pump(a, w->owner);
}

void terminal_open(struct agent *a, struct agent_task *t, int fd) {
    if (t->terminal.fd >= 0)
        agent_unwatch(a, &t->terminal);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    t->terminal = (struct watch){.fd = fd, .ready = terminal_ready, .owner = t};
    agent_watch(a, &t->terminal, EPOLLIN | EPOLLET);
}

static struct agent_task *find_by_job(struct agent *a, int64_t job) {
    struct agent_task *found = NULL;
    for (struct agent_task *t = a->tasks; t; t = t->next)
        if (t->task.job == job && t->order->spec.pty && (!found || t->task.attempt > found->task.attempt))
            found = t;
    return found;
}

void terminal_take(struct agent *a, const struct message *m) {
    const struct terminal *ask = m->record;
    struct agent_task *t = find_by_job(a, ask->job);
    if (!t) {
        struct terminal_data over = {.data = {0, ""}, .end = true};
        agent_send(a, MESSAGE_TERMINAL_DATA, 0, m->id, &over);
        return;
    }
    if (t->terminal_reader != 0)
        send_data(a, t, "", 0, false);   /* the earlier question is answered by "nothing yet" */
    t->terminal_reader = m->id;
    t->terminal_due_ms = clock_boot_ms() + HOLD_MS;
    if (t->terminal.fd >= 0 && ask->rows > 0 && ask->cols > 0) {
        struct winsize size = {.ws_row = (unsigned short)ask->rows, .ws_col = (unsigned short)ask->cols};
        ioctl(t->terminal.fd, TIOCSWINSZ, &size);   /* the kernel tells the foreground program by SIGWINCH */
    }
    if (t->terminal.fd >= 0 && ask->data.size > 0 && write(t->terminal.fd, ask->data.data, ask->data.size) < 0 && errno != EAGAIN)
        t->terminal_closed = true;
    if (ask->hang_up) {
        struct wire_message hang_up = {.kind = WIRE_SIGNAL, .job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease,
                                       .signal = SIGHUP};
        agent_launcher_send(a, &hang_up, NULL, 0);
    }
    pump(a, t);
}

void terminal_task_ended(struct agent *a, struct agent_task *t) {
    pump(a, t);
}

bool terminal_holds_output(const struct agent_task *t) {
    return t->terminal.fd >= 0 && !t->terminal_closed;
}

void terminal_tick(struct agent *a, int64_t now_ms) {
    for (struct agent_task *t = a->tasks; t; t = t->next)
        if (t->terminal_reader != 0 && now_ms >= t->terminal_due_ms)
            send_data(a, t, "", 0, t->terminal_closed && t->task.state == TASK_EXITED);
}
