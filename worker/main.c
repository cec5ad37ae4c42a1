/* muster-worker: one binary, four programs. Without a word it is the agent; --launcher is its other half; `rank` and `rsh` run inside
 * jobs. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/options.h"
#include "common/text.h"
#include "common/version.h"
#include "worker/agent.h"
#include "worker/launcher.h"
#include "worker/rank.h"
#include "worker/rsh.h"

struct args {
    struct agent_options agent;
    bool launcher, shutdown, help, version, allow_root;
};

#define AGENT(member) (offsetof(struct args, agent) + offsetof(struct agent_options, member))

static const struct option_row rows[] = {
    {"name", 0, OPTION_TEXT, AGENT(name), "NAME", "this node's name (default: the host's)"},
    {"state", 0, OPTION_TEXT, AGENT(state), "DIR", "folder for records and logs, this worker's own (default: /var/lib/muster-worker)"},
    {"connect", 0, OPTION_TEXT, AGENT(connect), "ENDPOINT",
     "musterd's endpoint, ipc:///path or tcp://address:port (default: ipc:///run/muster/musterd.sock)"},
    {"gpus", 0, OPTION_TEXT, AGENT(gpus), "WHICH",
     "none, auto, fake:N, fake:hgx-8xh100, fake:dgx1-v100 or fake:pcie-2x4-numa (default: auto)"},
    {"address", 0, OPTION_TEXT, AGENT(address), "A", "address that other nodes reach this one by (default: 127.0.0.1)"},
    {"switch", 0, OPTION_TEXT, AGENT(rack), "RACK", "leaf switch, RACK or POD/RACK (default: rack0)"},
    {"features", 0, OPTION_TEXT, AGENT(features), "NAME,...", "what jobs may ask for with --features, such as nvme,ib (default: nothing)"},
    {"cpus", 0, OPTION_INT, AGENT(cpus), "N", "cores to offer (default: all)", .min = 0, .max = 65536},
    {"memory", 0, OPTION_SIZE, AGENT(memory_mib), "SIZE", "memory to offer (default: all)"},
    {"nic-gbs", 0, OPTION_INT, AGENT(nic_gbs), "N", "GB/s of this node into its leaf switch", .min = 0, .max = 100000},
    {"cgroup-root", 0, OPTION_TEXT, AGENT(cgroup_root), "DIR", "cgroup v2 folder to put jobs below (default: looked for)"},
    {"keys", 0, OPTION_TEXT, AGENT(keys), "FOLDER", "server.pub and node.key, for a tcp endpoint that isn't loopback"},
    {"ports", 0, OPTION_TEXT, AGENT(ports), "FIRST-LAST", "ports for MASTER_PORT (default: 40000-40999)"},
    {"allow-root", 0, OPTION_FLAG, offsetof(struct args, allow_root), NULL, "run jobs of root too: for containers and tests"},
    {"shutdown", 0, OPTION_FLAG, offsetof(struct args, shutdown), NULL, "end every job of --state and its launcher, and exit"},
    {"launcher", 0, OPTION_FLAG, offsetof(struct args, launcher), NULL, "be the launcher of --state (started by the worker itself)"},
    {"version", 0, OPTION_FLAG, offsetof(struct args, version), NULL, "print the version"},
    {"help", 'h', OPTION_FLAG, offsetof(struct args, help), NULL, "print this"},
    {0}};

static int usage(const struct error *err) {
    fprintf(stderr, "muster-worker: %s\n%s", err->text, err->code == ERR_INVALID ? "muster-worker --help lists the options\n" : "");
    return error_exit_code(err->code);
}

static void print_help(void) {
    printf("usage: muster-worker [OPTIONS]              offer this host to a cluster\n"
           "       muster-worker --state DIR --shutdown end its jobs\n"
           "       muster-worker rank -- COMMAND        one rank of a job (used by Muster)\n\n");
    options_help(rows, stdout);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "rank") == 0)
        return rank_main(argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], "rsh") == 0)
        return rsh_main(argc - 2, argv + 2);
    static char hostname[64];
    struct error err;
    int operands;
    gethostname(hostname, sizeof hostname - 1);
    struct args args = {.agent = {.state = "/var/lib/muster-worker", .name = hostname, .connect = "ipc:///run/muster/musterd.sock",
                                  .gpus = "auto",
                                  .address = "127.0.0.1", .rack = "rack0", .ports = "40000-40999", .features = ""}};
    if (options_parse(rows, argc, argv, 0, &args, &operands, &err) != 0)
        return usage(&err);
    if (operands < argc) {
        error_set(&err, ERR_INVALID, "unexpected '%s'", argv[operands]);
        return usage(&err);
    }
    args.agent.allow_root = args.allow_root;
    if (args.help || args.version) {
        if (args.help)
            print_help();
        else
            printf("muster-worker %s\n", muster_version);
        return 0;
    }
    log_init(args.launcher ? "muster-launcher" : "muster-worker");
    if (text_check_node_name("--name", args.agent.name, NODE_NAME_MAX - 1, &err) != 0 ||
        text_check_list("--features", args.agent.features, NODE_FEATURES_MAX - 1, text_check_node_name, &err) != 0)
        return usage(&err);
    if (args.shutdown)
        return agent_launcher_shutdown(args.agent.state, args.agent.name, &err) == 0 ? 0 : usage(&err);
    if (args.launcher) {
        struct launcher_options options = {args.agent.state, args.agent.name, args.agent.cgroup_root, args.allow_root};
        return launcher_run(&options, 3);
    }
    return agent_run(&args.agent);
}
