/* From a START to the processes of a task: which command, with which environment, written where. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "worker/agent.h"
#include "worker/environment.h"
#include "worker/mpi.h"
#include "worker/output_path.h"

/* ---- the port of the gang's rendezvous ---- */

static bool port_is_free(int64_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return is_free;
}

static bool port_is_held(const struct agent *a, int64_t port) {
    for (const struct agent_task *t = a->tasks; t; t = t->next)
        if (t->master_port == port && t->task.state != TASK_EXITED)
            return true;
    return false;
}

void agent_choose_port(struct agent *a, struct agent_task *t) {
    bool wanted = t->order->node_rank == 0 && (t->order->gang.count > 1 || t->order->spec.launcher != LAUNCHER_NONE);
    int64_t range = a->last_port - a->first_port + 1;
    for (int64_t tried = 0; wanted && t->master_port == 0 && tried < range; tried++) {
        int64_t port = a->first_port + a->next_port++ % range;
        if (!port_is_held(a, port) && port_is_free(port)) {
            t->master_port = port;
            agent_task_note(a, t, "port %" PRId64 "\n", port);
        }
    }
    if (wanted && t->master_port == 0)
        log_error("no_free_port", "task=%" PRId64 ".%" PRId64 " range=%" PRId64 "-%" PRId64, t->task.job, t->task.attempt, a->first_port,
                  a->last_port);
}

/* ---- files ---- */

/* The script as it was submitted, for its user's eyes only. */
static int write_script(struct agent *a, struct agent_task *t, char path[PATH_MAX], struct error *err) {
    const struct start *o = t->order;
    paths_run(&a->paths, o->job, o->attempt, "script", path);
    if (access(path, F_OK) == 0)
        return 0;
    if (paths_write_file(path, o->spec.script.data, o->spec.script.size, 0500, err) != 0)
        return err->code;
    if (geteuid() == 0 && o->uid != 0 && chown(path, (uid_t)o->uid, (gid_t)o->gid) != 0)
        return error_set_errno(err, ERR_IO, "giving %s to its user", path);
    return 0;
}

static int write_hostfile(struct agent *a, struct agent_task *t, char path[PATH_MAX], struct error *err) {
    struct buffer text = {0};
    paths_run(&a->paths, t->task.job, t->task.attempt, "hostfile", path);
    mpi_hostfile(t->order, &text);
    int code = paths_write_file(path, text.data, text.size, 0644, err);
    buffer_release(&text);
    return code;
}

/* ---- one process ---- */

struct process_plan {
    struct environment environment;
    const char *argv[JOB_ARGS_MAX + MPI_ARGV_MAX];
    size_t argc;
    char directory[PATH_MAX], output[PATH_MAX], error[PATH_MAX], script[PATH_MAX];
};

static void send_spawn(struct agent *a, struct agent_task *t, const struct process_plan *p, int slot, int flags, struct arena *arena) {
    const struct start *o = t->order;
    struct wire_message m = {.kind = WIRE_SPAWN, .job = o->job, .attempt = o->attempt, .lease = o->lease, .slot = slot, .flags = flags,
                             .umask = (uint32_t)o->spec.umask, .argc = (uint32_t)p->argc, .envc = (uint32_t)p->environment.count,
                             .rows = (int32_t)o->spec.terminal_rows, .cols = (int32_t)o->spec.terminal_cols};
    size_t count = 3 + p->argc + p->environment.count;
    const char **strings = arena_array(arena, count, sizeof *strings);
    strings[0] = p->directory;
    strings[1] = p->output;
    strings[2] = p->error;
    memcpy(strings + 3, p->argv, p->argc * sizeof *strings);
    memcpy(strings + 3 + p->argc, p->environment.items, p->environment.count * sizeof *strings);
    agent_launcher_send(a, &m, strings, count);
}

static void gpu_list(const struct agent *a, const struct start *o, char *out, size_t size) {
    size_t used = 0;
    const struct gpu_inventory *gpus = a->inventory.gpus.items;
    out[0] = '\0';
    for (size_t i = 0; i < o->gpus.count; i++)
        text_append(out, size, &used, "%s%s", i ? "," : "", gpus[o->gpus.items[i]].uuid);
}

/* "" where one of them has none. */
static void nic_list(const struct agent *a, const struct start *o, char *out, size_t size) {
    size_t used = 0;
    const struct gpu_inventory *gpus = a->inventory.gpus.items;
    for (size_t i = 0; i < o->gpus.count; i++)
        if (!*gpus[o->gpus.items[i]].nic) {
            used = 0;
            break;
        } else
            text_append(out, size, &used, "%s%s", i ? "," : "", gpus[o->gpus.items[i]].nic);
    out[used] = '\0';
}

static int64_t cores_needed(const struct start *o) {
    int64_t ranks = ((const struct gang_member *)o->gang.items)[o->node_rank].ranks;
    return (ranks > 0 ? ranks : 1) * (o->spec.cpus > 0 ? o->spec.cpus : 1);
}

/* More threads than cores on some host: its ranks must give the core away while they wait for each other. Nodes with one address are one
 * host. */
static bool is_oversubscribed(const struct start *o) {
    const struct gang_member *gang = o->gang.items;
    int64_t threads = o->spec.cpus > 0 ? o->spec.cpus : 1;
    for (size_t i = 0; i < o->gang.count; i++) {
        int64_t ranks = 0;
        for (size_t j = 0; j < o->gang.count; j++)
            if (strcmp(gang[i].address, gang[j].address) == 0)
                ranks += gang[j].ranks > gang[j].gpus ? gang[j].ranks : gang[j].gpus;
        if (ranks * threads > sysconf(_SC_NPROCESSORS_ONLN))
            return true;
    }
    return false;
}

static int plan_common(struct agent *a, struct agent_task *t, struct process_plan *p, struct arena *arena, struct error *err) {
    const struct start *o = t->order;
    char gpus[NODE_GPUS_MAX * 64], nics[NODE_GPUS_MAX * NIC_NAME_MAX], cores[CORES_LIST_MAX], hostfile[PATH_MAX], shm[PATH_MAX];
    int64_t numa[NODE_GPUS_MAX];
    bool has_script = o->spec.script.size > 0;
    p->argc = 0;
    p->environment = (struct environment){.arena = arena};
    snprintf(p->directory, sizeof p->directory, "%s", o->spec.directory);
    snprintf(p->output, sizeof p->output, "%s", t->output_path);
    p->error[0] = '\0';
    if (*o->spec.error)
        output_path_expand(o, a->options.name, -1, o->spec.error, p->error);
    if (has_script && write_script(a, t, p->script, err) != 0)
        return err->code;
    gpu_list(a, o, gpus, sizeof gpus);
    nic_list(a, o, nics, sizeof nics);
    for (size_t i = 0; i < o->gpus.count; i++)
        numa[i] = ((const struct gpu_inventory *)a->inventory.gpus.items)[o->gpus.items[i]].numa;
    environment_of_task(&p->environment, o, &a->paths, gpus, has_script ? p->script : NULL, t->master_port);
    if (cores_of(&a->cores, numa, o->gpus.count, cores_needed(o), cores))
        environment_set(&p->environment, "MUSTER_CPUS", "%s", cores);
    if (*nics)
        environment_set(&p->environment, "MUSTER_NIC", "%s", nics);
    if (mpi_is_likely(o)) {
        if (write_hostfile(a, t, hostfile, err) != 0)
            return err->code;
        paths_shm(&a->paths, o->job, o->attempt, shm);
        mpi_environment(&p->environment, o, a->program, a->mpi_interface, hostfile, shm, is_oversubscribed(o));
    } else {
        paths_run(&a->paths, o->job, o->attempt, "tmp", shm);
        mpi_environment_of_unlikely(&p->environment, o, shm);
    }
    return 0;
}

/* The user's command; the script's path differs from node to node, so ranks find it in MUSTER_SCRIPT. */
static void append_command(const struct agent_task *t, struct process_plan *p, const char *script) {
    const struct job_spec *spec = &t->order->spec;
    if (spec->script.size > 0)
        p->argv[p->argc++] = script;
    for (size_t i = 0; i < spec->command.count && p->argc < JOB_ARGS_MAX; i++)
        p->argv[p->argc++] = spec->command.items[i];
}

static int launch_head(struct agent *a, struct agent_task *t, struct arena *arena, struct error *err) {
    static struct process_plan p;
    const struct start *o = t->order;
    if (plan_common(a, t, &p, arena, err) != 0)
        return err->code;
    bool by_mpirun = o->spec.launcher == LAUNCHER_MPIRUN;
    if (by_mpirun)
        p.argc = mpi_command(o, a->program, arena, p.argv);
    append_command(t, &p, by_mpirun ? "@script" : p.script);
    t->starts_waited = 1;
    /* The first attempt's output begins anew, as Slurm's does; a later one goes on where the last stopped. */
    int flags = WIRE_FLAG_MAIN | (o->spec.pty ? WIRE_FLAG_PTY : 0) | (o->attempt == 1 ? WIRE_FLAG_TRUNCATE : 0);
    send_spawn(a, t, &p, 0, flags, arena);
    return 0;
}

static int launch_ranks(struct agent *a, struct agent_task *t, struct arena *arena, struct error *err) {
    static struct process_plan p;
    const struct start *o = t->order;
    int ranks = (int)((const struct gang_member *)o->gang.items)[o->node_rank].ranks;
    t->starts_waited = ranks;
    if (ranks < 1)
        return error_set(err, ERR_INVALID, "launcher direct without a rank on node %s", a->options.name);
    for (int i = 0; i < ranks; i++) {
        if (plan_common(a, t, &p, arena, err) != 0)
            return err->code;
        environment_of_rank(&p.environment, o, i);
        p.argv[p.argc++] = a->program;
        p.argv[p.argc++] = "rank";
        p.argv[p.argc++] = "--";
        append_command(t, &p, "@script");
        send_spawn(a, t, &p, i, WIRE_FLAG_MAIN, arena);
    }
    return 0;
}

void agent_launch(struct agent *a, struct agent_task *t) {
    struct arena arena = {0};
    struct error err;
    agent_choose_port(a, t);
    int code = t->order->spec.launcher == LAUNCHER_DIRECT ? launch_ranks(a, t, &arena, &err) : launch_head(a, t, &arena, &err);
    arena_release(&arena);
    t->launched_ms = clock_boot_ms();
    if (code == 0)
        return;
    snprintf(t->failed_text, sizeof t->failed_text, "%.*s", (int)sizeof t->failed_text - 1, err.text);
    struct wire_message m = {.kind = WIRE_STOP, .job = t->task.job, .attempt = t->task.attempt, .lease = t->task.lease};
    agent_launcher_send(a, &m, NULL, 0);
}

int agent_launch_relayed(struct agent *a, struct agent_task *t, const struct texts *command, int slot, bool local, struct error *err) {
    static struct process_plan p;
    struct arena arena = {0};
    char shm[PATH_MAX];
    if (plan_common(a, t, &p, &arena, err) != 0) {
        arena_release(&arena);
        return err->code;
    }
    paths_shm(&a->paths, t->task.job, t->task.attempt, shm);
    mpi_environment_of_orted(&p.environment, shm);
    for (size_t i = 0; i < command->count; i++)
        p.argv[p.argc++] = command->items[i];
    if (!local)   /* what orted itself has to say; its ranks' output goes back to mpirun */
        paths_run(&a->paths, t->task.job, t->task.attempt, "tmp/orted.log", p.output);
    p.error[0] = '\0';
    send_spawn(a, t, &p, slot, 0, &arena);
    arena_release(&arena);
    return 0;
}
