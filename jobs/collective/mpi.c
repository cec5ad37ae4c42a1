/* The only file that includes mpi.h. MPI's error handler returns, so that an error becomes a sentence; what kills a peer (a signal) is
 * left to mpirun, which ends the others. A peer that lives and doesn't come (it is stopped, or waits for something else) is found by time:
 * what all ranks do together is begun without blocking, and polled.
 *
 * All-reduces of gradients are MPI_Iallreduce. It moves only while somebody calls MPI, so each begin tests those before it.
 */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/xmalloc.h"
#include "jobs/collective/control.h"

enum { PIECE_MAX = 1 << 28 };   /* MPI counts are int */
enum { MESSAGE_TAG = 1, EXCHANGE_TAG, ROUND_TAG, POLLS_A_LOOK = 64, LOOK_MS_MAX = 100 };

static int64_t patience_ms;
static MPI_Request *pending;
static size_t pending_count, pending_capacity;

bool mpi_is_launched(void) { return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK"); }

static int check(int code, const char *what, struct error *err) {
    if (code == MPI_SUCCESS)
        return 0;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return error_set(err, ERR_IO, "MPI %s: %s", what, text);
}

/* code: what beginning them returned. A look that comes late counts as LOOK_MS_MAX: a rank that is stopped itself waits for nobody. */
static int wait_for(int code, MPI_Request *requests, size_t count, const char *what, struct error *err) {
    int done = 0;
    int64_t waited_ms = 0, looked_ms = clock_boot_ms();
    for (int polls = 1; code == MPI_SUCCESS && !done; polls++) {
        code = MPI_Testall((int)count, requests, &done, MPI_STATUSES_IGNORE);
        if (polls % POLLS_A_LOOK)
            continue;
        int64_t now_ms = clock_boot_ms(), passed_ms = now_ms - looked_ms;
        waited_ms += passed_ms < LOOK_MS_MAX ? passed_ms : LOOK_MS_MAX;
        looked_ms = now_ms;
        if (!done && waited_ms > patience_ms)
            return error_set(err, ERR_TIMEOUT, "MPI %s: another rank didn't come to it in %lld s; is one stopped, or waiting for a file?",
                             what, (long long)patience_ms / 1000);
    }
    return check(code, what, err);
}

static int mpi_open(int *rank, int *size, int timeout_s, struct error *err) {
    patience_ms = timeout_s * INT64_C(1000);
    int provided = 0, rc = check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided), "start", err);
    if (rc < 0)
        return rc;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    return 0;
}

static void mpi_close(void) {
    free(pending);
    pending = NULL;
    pending_count = pending_capacity = 0;
    MPI_Finalize();
}

static void mpi_abort(int exit_code) { MPI_Abort(MPI_COMM_WORLD, exit_code); }

static int mpi_sum(double *values, int count, struct error *err) {
    MPI_Request r;
    return wait_for(MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &r), &r, 1, "all-reduce", err);
}

static int mpi_max(int64_t *values, int count, struct error *err) {
    MPI_Request r;
    return wait_for(MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD, &r), &r, 1, "all-reduce", err);
}

static int mpi_broadcast(void *bytes, size_t size, int root, struct error *err) {
    for (char *p = bytes; size > 0;) {
        int piece = size < PIECE_MAX ? (int)size : PIECE_MAX;
        MPI_Request r;
        int rc = wait_for(MPI_Ibcast(p, piece, MPI_BYTE, root, MPI_COMM_WORLD, &r), &r, 1, "broadcast", err);
        if (rc < 0)
            return rc;
        p += piece;
        size -= (size_t)piece;
    }
    return 0;
}

static int mpi_barrier(struct error *err) {
    MPI_Request r;
    return wait_for(MPI_Ibarrier(MPI_COMM_WORLD, &r), &r, 1, "barrier", err);
}

static int mpi_all_gather(const void *bytes, size_t size, void *all, struct error *err) {
    if (size > PIECE_MAX)
        return error_set(err, ERR_INVALID, "MPI all-gather: %zu bytes a rank are too many", size);
    MPI_Request r;
    return wait_for(MPI_Iallgather(bytes, (int)size, MPI_BYTE, all, (int)size, MPI_BYTE, MPI_COMM_WORLD, &r), &r, 1, "all-gather", err);
}

/* By messages of its own: Open MPI 4.1's MPI_Ialltoallv sends nothing from a rank that receives nothing. A rank's own part is copied while
 * they are on their way. */
static int mpi_all_to_all(const float *out, const int64_t *sends, float *in, const int64_t *receives, struct error *err) {
    int rank, ranks, code = MPI_SUCCESS;
    size_t begun = 0;
    const float *from = out;
    float *to = in;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (int r = 0; r < rank; r++) {
        from += sends[r];
        to += receives[r];
    }
    MPI_Request *requests = xcalloc(2 * (size_t)ranks, sizeof *requests);
    for (int r = 0; r < ranks; in += receives[r++])
        if (receives[r] && r != rank && code == MPI_SUCCESS)
            code = MPI_Irecv(in, (int)receives[r], MPI_FLOAT, r, EXCHANGE_TAG, MPI_COMM_WORLD, &requests[begun++]);
    for (int r = 0; r < ranks; out += sends[r++])
        if (sends[r] && r != rank && code == MPI_SUCCESS)
            code = MPI_Isend(out, (int)sends[r], MPI_FLOAT, r, EXCHANGE_TAG, MPI_COMM_WORLD, &requests[begun++]);
    if (sends[rank])
        memcpy(to, from, (size_t)sends[rank] * sizeof *to);
    int rc = wait_for(code, requests, begun, "all-to-all", err);
    free(requests);
    return rc;
}

static int mpi_gather_slices(float *values, const int64_t *slices, struct error *err) {
    int ranks, end = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int *counts = xcalloc((size_t)ranks, sizeof *counts), *at = xcalloc((size_t)ranks, sizeof *at);
    for (int r = 0; r < ranks; r++) {
        counts[r] = (int)slices[r];
        at[r] = end;
        end += counts[r];
    }
    MPI_Request r;
    int code = MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values, counts, at, MPI_FLOAT, MPI_COMM_WORLD, &r);
    int rc = wait_for(code, &r, 1, "all-gather", err);
    free(counts);
    free(at);
    return rc;
}

struct collective_round {
    size_t count;
    MPI_Request requests[];
};

static int mpi_round_begin(const struct collective_message *messages, int count, int number, struct collective_round **round,
                           struct error *err) {
    struct collective_round *r = xcalloc(1, sizeof *r + (size_t)count * sizeof *r->requests);
    int code = MPI_SUCCESS;
    for (const struct collective_message *m = messages; m < messages + count && code == MPI_SUCCESS; m++) {
        MPI_Request *request = &r->requests[r->count++];
        code = m->send ? MPI_Isend(m->values, (int)m->count, MPI_FLOAT, m->peer, ROUND_TAG + number, MPI_COMM_WORLD, request)
                       : MPI_Irecv(m->values, (int)m->count, MPI_FLOAT, m->peer, ROUND_TAG + number, MPI_COMM_WORLD, request);
    }
    *round = r;
    return check(code, "exchange", err);
}

static int mpi_round_end(struct collective_round *round, bool wait, bool *done, struct error *err) {
    int all = 1;
    int rc = wait ? wait_for(MPI_SUCCESS, round->requests, round->count, "exchange", err)
                  : check(MPI_Testall((int)round->count, round->requests, &all, MPI_STATUSES_IGNORE), "exchange", err);
    *done = rc == 0 && all;
    if (*done)
        free(round);
    return rc;
}

static int mpi_gather(const void *bytes, size_t size, char **all, size_t **lengths, struct error *err) {
    int rank, ranks, total = 0, mine = (int)size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int *counts = xcalloc((size_t)ranks, sizeof *counts), *at = xcalloc((size_t)ranks, sizeof *at);
    *all = NULL;
    *lengths = NULL;
    MPI_Request request;
    int rc = wait_for(MPI_Igather(&mine, 1, MPI_INT, counts, 1, MPI_INT, 0, MPI_COMM_WORLD, &request), &request, 1, "gather", err);
    if (rc == 0 && rank == 0) {
        *lengths = xcalloc((size_t)ranks, sizeof **lengths);
        for (int r = 0; r < ranks; r++) {
            at[r] = total;
            total += counts[r];
            (*lengths)[r] = (size_t)counts[r];
        }
        *all = xmalloc((size_t)total + 1);
    }
    if (rc == 0)
        rc = wait_for(MPI_Igatherv(bytes, mine, MPI_BYTE, *all, counts, at, MPI_BYTE, 0, MPI_COMM_WORLD, &request), &request, 1, "gather",
                      err);
    free(counts);
    free(at);
    return rc;
}

static int mpi_send(int to, const void *bytes, size_t size, struct error *err) {
    if (size > PIECE_MAX)
        return error_set(err, ERR_INVALID, "MPI send: %zu bytes are too many", size);
    return check(MPI_Send(bytes, (int)size, MPI_BYTE, to, MESSAGE_TAG, MPI_COMM_WORLD), "send", err);
}

static int mpi_receive(bool wait, int *from, void **bytes, size_t *size, struct error *err) {
    MPI_Status status;
    int there = 1, count = 0;
    int code = wait ? MPI_Probe(MPI_ANY_SOURCE, MESSAGE_TAG, MPI_COMM_WORLD, &status)
                    : MPI_Iprobe(MPI_ANY_SOURCE, MESSAGE_TAG, MPI_COMM_WORLD, &there, &status);
    int rc = check(code, "probe", err);
    *bytes = NULL;
    if (rc < 0 || !there)
        return rc;
    MPI_Get_count(&status, MPI_BYTE, &count);
    *from = status.MPI_SOURCE;
    *size = (size_t)count;
    *bytes = xmalloc(*size + 1);
    rc = check(MPI_Recv(*bytes, count, MPI_BYTE, *from, MESSAGE_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "receive", err);
    if (rc < 0) {
        free(*bytes);
        *bytes = NULL;
    }
    return rc;
}

static int drive_pending(struct error *err) {
    int done;
    return pending_count ? check(MPI_Testall((int)pending_count, pending, &done, MPI_STATUSES_IGNORE), "all-reduce", err) : 0;
}

static int begin(void *state, float *values, int64_t count, struct error *err) {
    int rc = drive_pending(err);
    for (int64_t at = 0; rc == 0 && at < count; at += PIECE_MAX) {
        int piece = count - at < PIECE_MAX ? (int)(count - at) : PIECE_MAX;
        pending = xgrow(pending, &pending_capacity, pending_count + 1, sizeof *pending);
        rc = check(MPI_Iallreduce(MPI_IN_PLACE, values + at, piece, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &pending[pending_count]),
                   "all-reduce", err);
        if (rc == 0)
            pending_count++;
    }
    return rc;
}

static int finish(void *state, struct error *err) {
    int rc = pending_count ? wait_for(MPI_SUCCESS, pending, pending_count, "all-reduce", err) : 0;
    pending_count = 0;
    return rc;
}

static void nothing(void *state) {}

const struct collective_way mpi_way = {
    .name = "mpi", .all_reduce_begin = begin, .all_reduce_finish = finish, .close = nothing, .abort = nothing};

const struct control mpi_control = {.open = mpi_open, .close = mpi_close, .abort = mpi_abort, .sum = mpi_sum, .max = mpi_max,
                                    .broadcast = mpi_broadcast, .barrier = mpi_barrier, .all_gather = mpi_all_gather,
                                    .all_to_all = mpi_all_to_all, .gather_slices = mpi_gather_slices, .round_begin = mpi_round_begin,
                                    .round_end = mpi_round_end, .gather = mpi_gather, .send = mpi_send, .receive = mpi_receive};
