/* Everything that depends on Open MPI. Seen with 4.1.4: mpirun hands its own OMPI_MCA_ variables to every rank, over those of the rank's
 * orted, so what differs between nodes must not be in mpirun's environment; other variables of a rank come from its orted. */
#include "worker/mpi.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

/* Open MPI 4's names. */
#define MCA_RSH_AGENT "OMPI_MCA_plm_rsh_agent"
#define MCA_NO_TREE_SPAWN "OMPI_MCA_plm_rsh_no_tree_spawn"
#define MCA_ATTACHED "OMPI_MCA_orte_leave_session_attached"
#define MCA_HOSTFILE "OMPI_MCA_orte_default_hostfile"
#define MCA_DEFAULT_SLOTS "OMPI_MCA_orte_set_default_slots"
#define MCA_TCP_INTERFACE "OMPI_MCA_btl_tcp_if_include"
#define MCA_OOB_INTERFACE "OMPI_MCA_oob_tcp_if_include"
#define MCA_BINDING "OMPI_MCA_hwloc_base_binding_policy"
#define MCA_YIELD "OMPI_MCA_mpi_yield_when_idle"
#define MCA_SHM "OMPI_MCA_btl_vader_backing_directory"
#define MCA_NO_HELP_AGGREGATE "OMPI_MCA_orte_base_help_aggregate"
#define ALLOW_ROOT "OMPI_ALLOW_RUN_AS_ROOT"
#define ALLOW_ROOT_CONFIRM "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"
#define HOST_PREFIX "muster-"

int mpi_host_index(const char *host) {
    int64_t index;
    if (strncmp(host, HOST_PREFIX, strlen(HOST_PREFIX)) != 0 || text_parse_int(host + strlen(HOST_PREFIX), 0, 65535, &index, NULL) != 0)
        return -1;
    return (int)index;
}

void mpi_interface_of(const char *address, char *out, size_t size) {
    struct in_addr own;
    text_copy(out, size, "127.0.0.0/8");
    if (inet_pton(AF_INET, address, &own) != 1 || ntohl(own.s_addr) >> 24 == 127)
        return;
    snprintf(out, size, "%s/32", address);
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !i->ifa_netmask)
            continue;
        const struct in_addr *at = &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
        uint32_t mask = ((const struct sockaddr_in *)(const void *)i->ifa_netmask)->sin_addr.s_addr;
        if (at->s_addr != own.s_addr)
            continue;
        struct in_addr network = {.s_addr = own.s_addr & mask};
        char text[INET_ADDRSTRLEN];
        snprintf(out, size, "%s/%d", inet_ntop(AF_INET, &network, text, sizeof text), __builtin_popcount(mask));
        break;
    }
    freeifaddrs(all);
}

bool mpi_is_likely(const struct start *order) {
    return order->spec.launcher == LAUNCHER_MPIRUN || order->gang.count > 1 || order->gpus.count > 0;
}

/* What a plain mpirun starts on the node: the ranks that were asked for, else one a GPU, else one a core. */
static int64_t slots(const struct start *order, const struct gang_member *m) {
    int64_t n = order->spec.launcher != LAUNCHER_NONE ? m->ranks : m->gpus;
    return n > 0 ? n : order->spec.cpus > 0 ? order->spec.cpus : 1;
}

void mpi_hostfile(const struct start *order, struct buffer *out) {
    const struct gang_member *gang = order->gang.items;
    for (size_t i = 0; i < order->gang.count; i++) {
        char line[128];
        /* Alone on its node, mpirun starts the ranks itself: one process less, and nothing to relay. */
        int n = order->gang.count == 1 ? snprintf(line, sizeof line, "localhost slots=%" PRId64 "\n", slots(order, &gang[i]))
                                       : snprintf(line, sizeof line, HOST_PREFIX "%zu slots=%" PRId64 "\n", i, slots(order, &gang[i]));
        buffer_append(out, line, (size_t)n);
    }
}

static void allow_root(struct environment *e, const struct start *order) {
    if (order->uid)
        return;
    environment_set(e, ALLOW_ROOT, "1");   /* reached only under --allow-root */
    environment_set(e, ALLOW_ROOT_CONFIRM, "1");
}

void mpi_environment_of_unlikely(struct environment *e, const struct start *order, const char *folder) {
    environment_set(e, MCA_DEFAULT_SLOTS, "%" PRId64, slots(order, order->gang.items));
    environment_set(e, MCA_BINDING, "none");
    environment_set(e, MCA_SHM, "%s", folder);
    allow_root(e, order);
}

void mpi_environment(struct environment *e, const struct start *order, const char *program, const char *interface, const char *hostfile,
                     const char *shm, bool oversubscribed) {
    environment_set(e, MCA_RSH_AGENT, "%s rsh", program);
    environment_set(e, MCA_NO_TREE_SPAWN, "1");
    environment_set(e, MCA_ATTACHED, "1");
    environment_set(e, MCA_HOSTFILE, "%s", hostfile);
    environment_set(e, MCA_TCP_INTERFACE, "%s", interface);
    environment_set(e, MCA_OOB_INTERFACE, "%s", interface);
    environment_set(e, MCA_BINDING, "none");
    environment_set(e, MCA_NO_HELP_AGGREGATE, "0");
    if (oversubscribed)
        environment_set(e, MCA_YIELD, "1");
    if (order->gang.count == 1)
        mpi_environment_of_orted(e, shm);
    allow_root(e, order);
}

void mpi_environment_of_orted(struct environment *e, const char *shm) {
    environment_set(e, MCA_SHM, "%s", shm);
}

size_t mpi_command(const struct start *order, const char *program, struct arena *arena, const char **argv) {
    char ranks[24];
    int n = snprintf(ranks, sizeof ranks, "%" PRId64, gang_ranks(order));
    const char *const fixed[] = {"mpirun", "-np", arena_copy(arena, ranks, (size_t)n), "--map-by", "slot", "--bind-to", "none",
                                 "-x", "MASTER_ADDR", "-x", "MASTER_PORT", program, "rank", "--"};
    memcpy(argv, fixed, sizeof fixed);
    return sizeof fixed / sizeof *fixed;
}
