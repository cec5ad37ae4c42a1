#include "scheduler/cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/clock.h"

enum {
    EAGER_MS = 5,          /* between questions while there is output ... */
    LAZY_MS = 80,          /* ... growing to this while there is none */
    ANSWER_MS = 5000,      /* an answer that takes longer is lost: ask again */
    SILENCE_MS = 60000,    /* give up: musterd or the node is gone */
    KEYS_MAX = 4096,
};

static struct termios saved;
static volatile sig_atomic_t is_raw, resized;

bool terminal_here(void) { return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO); }

void terminal_size(int64_t *rows, int64_t *cols) {
    struct winsize size = {0};
    ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
    *rows = size.ws_row ? size.ws_row : 24;
    *cols = size.ws_col ? size.ws_col : 80;
}

static void restore(void) {
    if (is_raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
    is_raw = 0;
}

static void on_deadly_signal(int number) {
    restore();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_resize(int number) { resized = 1; }

static int make_raw(struct error *err) {
    if (tcgetattr(STDIN_FILENO, &saved) < 0)
        return error_set_errno(err, ERR_IO, "reading the terminal's settings");
    struct termios raw = saved;
    cfmakeraw(&raw);
    is_raw = 1;
    signal(SIGTERM, on_deadly_signal);
    signal(SIGHUP, on_deadly_signal);
    signal(SIGQUIT, on_deadly_signal);
    signal(SIGWINCH, on_resize);
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)   /* what was typed ahead is the job's */
        return error_set_errno(err, ERR_IO, "setting the terminal");
    return 0;
}

/* One question is outstanding at a time, and carries the keys typed since the last one. */
struct session {
    struct client *client;
    struct terminal question;
    char keys[KEYS_MAX];
    size_t key_count;
    int64_t sequence;        /* of the outstanding question; 0: none */
    int64_t next_id;
    int64_t asked_ms, heard_ms, due_ms;
    int64_t pause_ms;
    bool ended, input_closed;
};

static void ask(struct session *s, int64_t now_ms) {
    s->question.data = (struct bytes){s->key_count, s->keys};
    terminal_size(&s->question.rows, &s->question.cols);
    s->sequence = s->next_id++;
    s->asked_ms = now_ms;
    if (channel_send(s->client->channel, NULL, MESSAGE_TERMINAL, s->sequence, 0, &s->question) == 0)
        s->key_count = 0;
    resized = 0;
}

static int take_answers(struct session *s, struct error *err) {
    struct message m = {0};
    int rc;
    arena_reset(&s->client->arena);
    while ((rc = channel_receive(s->client->channel, NULL, &m, &s->client->arena, err)) == 1) {
        s->heard_ms = clock_boot_ms();
        s->sequence = m.reply_to == s->sequence ? 0 : s->sequence;
        if (m.type == MESSAGE_FAILURE) {
            const struct failure *failure = m.record;
            error_set(err, (int)failure->code, "%s", failure->text);
            rc = (int)failure->code;
        } else if (m.type == MESSAGE_TERMINAL_DATA) {
            const struct terminal_data *data = m.record;
            for (size_t done = 0; done < data->data.size;) {
                ssize_t n = write(STDOUT_FILENO, (const char *)data->data.data + done, data->data.size - done);
                if (n < 0 && errno != EINTR)
                    break;
                done += n > 0 ? (size_t)n : 0;
            }
            s->ended = data->end;
            s->pause_ms = data->data.size ? EAGER_MS : s->pause_ms * 2 > LAZY_MS ? LAZY_MS : s->pause_ms * 2;
            s->due_ms = s->heard_ms + s->pause_ms;
        }
        message_release(&m);
        if (rc < 0)
            return rc;
    }
    return rc == ERR_PROTOCOL ? 0 : rc;
}

static void take_keys(struct session *s) {
    ssize_t n = read(STDIN_FILENO, s->keys + s->key_count, sizeof s->keys - s->key_count);
    if (n > 0)
        s->key_count += (size_t)n;
    else if (n == 0 || errno != EINTR)
        s->input_closed = s->question.hang_up = true;
    s->due_ms = 0;
    s->pause_ms = EAGER_MS;
}

static void wait_for_something(struct session *s, int64_t now_ms) {
    struct pollfd ready[2] = {{.fd = channel_fd(s->client->channel), .events = POLLIN},
                              {.fd = s->input_closed || s->key_count == sizeof s->keys ? -1 : STDIN_FILENO, .events = POLLIN}};
    int64_t until_ms = s->sequence ? s->asked_ms + ANSWER_MS : s->due_ms;
    int64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    if (channel_pending(s->client->channel))
        left_ms = 0;
    if (poll(ready, 2, (int)left_ms) > 0 && ready[1].revents)
        take_keys(s);
}

static int converse(struct session *s, struct error *err) {
    int rc = 0;
    while (rc == 0 && !s->ended) {
        int64_t now_ms = clock_boot_ms();
        if (now_ms - s->heard_ms > SILENCE_MS)
            return error_set(err, ERR_UNREACHABLE, "no word from the job's terminal for %d s", SILENCE_MS / 1000);
        if (s->sequence && now_ms - s->asked_ms > ANSWER_MS)
            s->sequence = 0;
        if (!s->sequence && (now_ms >= s->due_ms || resized))
            ask(s, now_ms);
        wait_for_something(s, now_ms);
        rc = take_answers(s, err);
    }
    return rc;
}

int terminal_join(struct client *client, int64_t job, struct error *err) {
    struct session s = {
        .client = client, .question = {.job = job}, .next_id = INT64_C(1) << 32, .heard_ms = clock_boot_ms(), .pause_ms = EAGER_MS};
    int rc = make_raw(err);
    if (rc == 0)
        rc = converse(&s, err);
    restore();
    return rc;
}
