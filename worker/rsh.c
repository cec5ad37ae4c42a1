/* What mpirun takes for ssh. mpirun gives it a host of the allocation and a command quoted for a shell; it hands both to the agent over
 * the task's socket and waits until that orted has ended. It opens no connection anywhere else. */
#include "worker/rsh.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/xmalloc.h"
#include "worker/task_socket.h"

enum { WORDS_MAX = 1024, CONNECT_WAIT_MS = 5000 };

/* Reads one word at *text; false: it needs a shell. */
static bool take_word(const char **text, char *word) {
    char quote = '\0';
    const char *s = *text;
    for (; *s && (quote || (*s != ' ' && *s != '\t')); s++) {
        if (quote ? *s == quote : *s == '"' || *s == '\'') {
            quote = quote ? '\0' : *s;
            continue;
        }
        if (*s == '\\' && quote != '\'' && s[1])
            s++;
        else if (!quote && strchr(";|&<>()`$\n*?", *s))
            return false;
        *word++ = *s;
    }
    *word = '\0';
    *text = s;
    return !quote;
}

char **rsh_split(const char *text, size_t *count) {
    char **words = xcalloc(WORDS_MAX + 1, sizeof *words), *word = xmalloc(strlen(text) + 1);
    bool plain = true;
    *count = 0;
    for (text += strspn(text, " \t"); *text && plain; text += strspn(text, " \t")) {
        plain = *count < WORDS_MAX && take_word(&text, word);
        if (plain)
            words[(*count)++] = xstrdup(word);
    }
    free(word);
    if (plain)
        return words;
    rsh_free_words(words);
    return NULL;
}

void rsh_free_words(char **words) {
    for (size_t i = 0; words && words[i]; i++)
        free(words[i]);
    free(words);
}

static char *join(int argc, char **argv) {
    size_t size = 1;
    for (int i = 0; i < argc; i++)
        size += strlen(argv[i]) + 1;
    char *text = xcalloc(1, size);
    for (int i = 0; i < argc; i++) {
        strcat(text, argv[i]);
        strcat(text, " ");
    }
    return text;
}

static json_t *words_of(int argc, char **argv) {
    char *text = join(argc, argv);
    size_t count;
    char **words = rsh_split(text, &count);
    json_t *list = json_array();
    for (size_t i = 0; words && i < count; i++)
        json_array_append_new(list, json_string(words[i]));
    if (!words) {   /* a prefix that sets PATH for orted, for example */
        json_array_append_new(list, json_string("/bin/sh"));
        json_array_append_new(list, json_string("-c"));
        json_array_append_new(list, json_string(text));
    }
    rsh_free_words(words);
    free(text);
    return list;
}

/* Waits for {"type":"relayed"}; other lines are requests to checkpoint, which aren't for us. */
static int wait_for_end(int fd, const char *host) {
    static char line[64 * 1024];
    int received;
    while (task_socket_read_line(fd, line, sizeof line, &received, -1) > 0) {
        json_t *m = json_loads(line, 0, NULL);
        const char *type = json_string_value(json_object_get(m, "type")), *text = json_string_value(json_object_get(m, "text"));
        int status = (int)json_integer_value(json_object_get(m, "status"));
        bool over = type && strcmp(type, "relayed") == 0;
        if (over && text && *text)
            fprintf(stderr, "muster: %s: %s\n", host, text);
        json_decref(m);
        if (over)
            return status;
    }
    /* The agent is gone or being restarted. orted speaks with mpirun itself: staying is right, until mpirun ends and we with it. */
    for (;;)
        pause();
}

int rsh_main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 2) {
        fprintf(stderr, "usage: muster-worker rsh HOST COMMAND...\n");
        return 2;
    }
    int fd = task_socket_connect(CONNECT_WAIT_MS);
    json_t *request = json_pack("{s:s, s:s, s:o}", "type", "relay", "host", argv[0], "command", words_of(argc - 1, argv + 1));
    if (fd < 0 || task_socket_send(fd, request) != 0) {
        fprintf(stderr, "muster: can't reach the worker at MUSTER_SOCKET: %s can't be started\n", argv[0]);
        return 255;
    }
    return wait_for_end(fd, argv[0]);
}
