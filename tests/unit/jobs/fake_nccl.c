/* A fake of the hardware below collective/nccl.c: libcudart with GPUs that are malloc, and libnccl over shared memory, in one library, so
 * that the real nccl.c runs on a machine without GPUs. It keeps what matters there: work on a stream is done later, in order, by another
 * thread; a non-blocking communicator answers ncclInProgress; a peer that died is an asynchronous error. It is stricter in one thing: a sum
 * or message of values that may still be computed, because its stream neither copied them nor waited for an event of the default stream,
 * is refused; and what is received must be as long as what was sent.
 *
 * FAKE_GPUS is the number of GPUs (8); FAKE_KILL=1:20 kills rank 1 at its 20th sum or group of messages. Ranks meet in a
 * file of FAKE_FOLDER (/dev/shm) that is named in the id and unlinked once all have come.
 */
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RANKS_MAX = 8, PIECE = 1 << 16 /* floats a rank exchanges at a time */, PATIENCE = 20000 /* yields between looks at the peers */ };
enum { MAILBOX = 1 << 12 /* words between two ranks */, MESSAGES_MAX = 64 /* of a group */ };

/* --- streams --- */

struct work {
    struct work *next;
    void *to;
    const void *from;
    size_t bytes;       /* of a copy */
    ncclComm_t comm;    /* of a sum of bytes / 4 floats, or of messages; or NULL */
    struct group *group;
};

struct CUstream_st {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct work *first, **end;
    int busy, closing;
    const void *copied;   /* to here last */
    int waited;           /* for the default stream, since the last sum */
};

struct CUevent_st {
    int recorded;
};

static void sum_over_ranks(ncclComm_t comm, float *to, const float *from, size_t count);
static void exchange_messages(ncclComm_t comm, struct group *group);

static void *run_stream(void *argument) {
    cudaStream_t s = argument;
    pthread_mutex_lock(&s->lock);
    while (!s->closing || s->first) {
        struct work *w = s->first;
        if (!w) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        s->busy = 1;
        if (!(s->first = w->next))
            s->end = &s->first;
        pthread_mutex_unlock(&s->lock);
        if (w->group)
            exchange_messages(w->comm, w->group);
        else if (w->comm)
            sum_over_ranks(w->comm, w->to, w->from, w->bytes / sizeof(float));
        else
            memcpy(w->to, w->from, w->bytes);
        free(w);
        pthread_mutex_lock(&s->lock);
        s->busy = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void enqueue(cudaStream_t s, struct work w) {
    struct work *copy = malloc(sizeof *copy);
    *copy = w;
    pthread_mutex_lock(&s->lock);
    *s->end = copy;
    s->end = &copy->next;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    cudaStream_t s = calloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->end = &s->first;
    pthread_create(&s->thread, NULL, run_stream, s);
    *stream = s;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s) {
    pthread_mutex_lock(&s->lock);
    s->closing = 1;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    free(s);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t s) {
    pthread_mutex_lock(&s->lock);
    int busy = s->busy || s->first;
    pthread_mutex_unlock(&s->lock);
    return busy ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    *event = calloc(1, sizeof **event);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s) {
    event->recorded = !s;   /* what other streams do is of no use here */
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned flags) {
    s->waited = s->waited || event->recorded;
    event->recorded = 0;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s) {
    enqueue(s, (struct work){.to = to, .from = from, .bytes = bytes});
    s->copied = to;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes) { return (*p = malloc(bytes)) ? cudaSuccess : cudaErrorMemoryAllocation; }

cudaError_t cudaFree(void *p) {
    free(p);
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return cudaSuccess; }

cudaError_t cudaGetDeviceCount(int *count) {
    const char *text = getenv("FAKE_GPUS");
    *count = text ? atoi(text) : 8;
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t code) { return code == cudaSuccess ? "no error" : "a fake error"; }

/* --- communicators --- */

/* From one rank to another: words in a ring. */
struct mailbox {
    atomic_size_t written, read;
    uint32_t words[MAILBOX];
};

struct meeting {
    atomic_int joined;
    atomic_int arrived[RANKS_MAX];   /* barriers that each rank has come to */
    atomic_int pid[RANKS_MAX];
    float piece[RANKS_MAX][PIECE];
    struct mailbox mail[RANKS_MAX][RANKS_MAX];   /* from, to */
};

struct ncclComm {
    struct meeting *m;
    int rank, size, barriers, sums;
    char path[NCCL_UNIQUE_ID_BYTES];
    atomic_int aborted, failed;
};

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    const char *folder = getenv("FAKE_FOLDER");
    snprintf(id->internal, sizeof id->internal, "%s/fake-nccl-%d-%d", folder ? folder : "/dev/shm", getpid(), rand());
    int fd = open(id->internal, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct meeting)) != 0)
        return ncclSystemError;
    close(fd);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank, ncclConfig_t *config) {
    int fd = open(id.internal, O_RDWR);
    if (size > RANKS_MAX || fd < 0)
        return ncclInvalidArgument;
    ncclComm_t c = calloc(1, sizeof *c);
    c->m = mmap(NULL, sizeof *c->m, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    c->rank = rank;
    c->size = size;
    memcpy(c->path, id.internal, sizeof c->path);
    atomic_store(&c->m->pid[rank], getpid());
    atomic_fetch_add(&c->m->joined, 1);
    *comm = c;
    return ncclInProgress;
}

static int a_peer_is_dead(ncclComm_t c) {
    for (int r = 0; r < c->size; r++) {
        int pid = atomic_load(&c->m->pid[r]);
        if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH)
            return 1;
    }
    return 0;
}

static void wait_for_all(ncclComm_t c) {
    c->barriers++;
    atomic_store(&c->m->arrived[c->rank], c->barriers);
    for (int r = 0; r < c->size; r++)
        for (int turn = 1; atomic_load(&c->m->arrived[r]) < c->barriers; turn++) {
            if (atomic_load(&c->aborted))
                return;
            if (turn % PATIENCE == 0 && a_peer_is_dead(c))
                atomic_store(&c->failed, 1);
            sched_yield();
        }
}

static void die_if_asked(ncclComm_t c) {
    int rank, at;
    const char *text = getenv("FAKE_KILL");
    c->sums++;
    if (text && sscanf(text, "%d:%d", &rank, &at) == 2 && rank == c->rank && at == c->sums)
        raise(SIGKILL);
}

static void sum_over_ranks(ncclComm_t c, float *to, const float *from, size_t count) {
    die_if_asked(c);
    for (size_t at = 0; at < count && !atomic_load(&c->aborted); at += PIECE) {
        size_t n = count - at < PIECE ? count - at : PIECE;
        memcpy(c->m->piece[c->rank], from + at, n * sizeof *from);
        wait_for_all(c);
        for (size_t i = 0; i < n; i++) {
            float sum = 0;
            for (int r = 0; r < c->size; r++)
                sum += c->m->piece[r][i];
            to[at + i] = sum;
        }
        wait_for_all(c);
    }
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t comm,
                           cudaStream_t stream) {
    if (type != ncclFloat || operation != ncclSum)
        return ncclInvalidArgument;
    if (!stream->waited && stream->copied != from)
        return ncclInvalidUsage;
    stream->waited = 0;
    enqueue(stream, (struct work){.to = to, .from = from, .bytes = count * sizeof(float), .comm = comm});
    return ncclInProgress;
}

/* --- messages --- */

struct message {
    const float *out;   /* what is sent, or NULL */
    float *in;
    size_t count, moved;   /* floats; words, the first of which is the count */
    int peer;
};

static struct group {
    struct message messages[MESSAGES_MAX];
    int count, open;
    ncclComm_t comm;
    cudaStream_t stream;
    ncclResult_t wrong;
} group;

static int is_done(const struct message *m) { return m->moved == m->count + 1; }

static void push(ncclComm_t c, struct message *m) {
    struct mailbox *box = &c->m->mail[c->rank][m->peer];
    size_t written = atomic_load(&box->written), room = MAILBOX - (written - atomic_load(&box->read));
    for (; room > 0 && !is_done(m); room--, m->moved++) {
        uint32_t word = (uint32_t)m->count;
        if (m->moved > 0)
            memcpy(&word, m->out + m->moved - 1, sizeof word);
        box->words[written++ % MAILBOX] = word;
    }
    atomic_store(&box->written, written);
}

static void pull(ncclComm_t c, struct message *m) {
    struct mailbox *box = &c->m->mail[m->peer][c->rank];
    size_t read = atomic_load(&box->read), there = atomic_load(&box->written) - read;
    for (; there > 0 && !is_done(m); there--, m->moved++) {
        uint32_t word = box->words[read++ % MAILBOX];
        if (m->moved > 0)
            memcpy(m->in + m->moved - 1, &word, sizeof word);
        else if (word != m->count)
            atomic_store(&c->failed, 1);
    }
    atomic_store(&box->read, read);
}

/* One turn: between two ranks a message waits for those before it. Returns whether all are done. */
static int move_messages(ncclComm_t c, struct group *g) {
    int waiting[2][RANKS_MAX] = {0}, left = 0;
    for (int i = 0; i < g->count; i++) {
        struct message *m = &g->messages[i];
        int *before = &waiting[m->out != NULL][m->peer];
        if (!*before)
            (m->out ? push : pull)(c, m);
        *before |= !is_done(m);
        left |= !is_done(m);
    }
    return !left;
}

static void exchange_messages(ncclComm_t c, struct group *g) {
    die_if_asked(c);
    for (int turn = 1; !move_messages(c, g) && !atomic_load(&c->aborted) && !atomic_load(&c->failed); turn++) {
        if (turn % PATIENCE == 0 && a_peer_is_dead(c))
            atomic_store(&c->failed, 1);
        sched_yield();
    }
    while (atomic_load(&c->failed) && !atomic_load(&c->aborted))   /* a kernel that waits for a dead peer doesn't end by itself */
        sched_yield();
    free(g);
}

ncclResult_t ncclGroupStart(void);   /* nccl.h has no prototypes of these */
ncclResult_t ncclGroupEnd(void);

ncclResult_t ncclGroupStart(void) {
    group = (struct group){.open = 1};
    return ncclSuccess;
}

static ncclResult_t add_message(struct message m, ncclDataType_t type, ncclComm_t comm, cudaStream_t stream) {
    if (!group.open || group.count == MESSAGES_MAX || type != ncclFloat || m.count == 0 || m.peer < 0 || m.peer >= comm->size)
        return group.wrong = ncclInvalidArgument;
    group.comm = comm;
    group.stream = stream;
    group.messages[group.count++] = m;
    return ncclInProgress;
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
    return add_message((struct message){.out = from, .count = count, .peer = peer}, type, comm, stream);
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
    return add_message((struct message){.in = to, .count = count, .peer = peer}, type, comm, stream);
}

ncclResult_t ncclGroupEnd(void) {
    group.open = 0;
    if (group.wrong || group.count == 0)
        return group.wrong;
    if (!group.stream->waited)
        return ncclInvalidUsage;
    group.stream->waited = 0;
    struct group *copy = malloc(sizeof *copy);
    *copy = group;
    enqueue(group.stream, (struct work){.comm = group.comm, .group = copy});
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *code) {
    int together = atomic_load(&c->m->joined) == c->size;
    if (together && c->rank == 0)
        unlink(c->path);
    *code = atomic_load(&c->failed) ? ncclRemoteError : together ? ncclSuccess : ncclInProgress;
    if (!together && a_peer_is_dead(c))
        *code = ncclRemoteError;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
    atomic_store(&c->aborted, 1);   /* stays allocated: the stream may still look at it */
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t c) { return ncclSuccess; }
ncclResult_t ncclCommDestroy(ncclComm_t c) { return ncclCommAbort(c); }
const char *ncclGetErrorString(ncclResult_t code) { return code == ncclRemoteError ? "remote process exited" : "a fake error"; }
const char *ncclGetLastError(ncclComm_t c) { return "fake"; }
