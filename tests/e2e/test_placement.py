"""Where jobs go: types of GPU, features, nodes by name, whole nodes, cores and memory, on nodes of three kinds."""

import atexit
import json
import os
import shutil
import tempfile

from cluster import check, contains, equal, main, wait_for

# What the admin's file says goes before the worker's --switch; worker2 is not in it and stays in rack2.
NETWORK = "pods:\n  pod0:\n    leaf0: worker0\n    leaf1: ['worker[1-1]', worker9]\n"
KINDS = {"worker0": "H100-SXM", "worker1": "V100-SXM2", "worker2": "A10"}


def place_of(c, *words):
    """Where a job with these options runs; it has ended when this returns."""
    job = c.submit(*words, "--", "sh", "-c", "echo gpus $MUSTER_GPUS_ON_NODE devices $CUDA_VISIBLE_DEVICES")
    row = c.wait_final(job)
    equal(row["state"], "COMPLETED", f"job with {words}")
    return row["nodes"], c.output(job)


def a_job_runs_on_the_type_that_it_asks_for(c):
    for name, kind in KINDS.items():
        nodes, output = place_of(c, "-g", 2, "--gpu-type", kind.split("-")[0].lower())
        equal(nodes, [name], f"where {kind} is")
        contains(output, "gpus 2", "what it got")
    nodes, _ = place_of(c, "-g", 1, "--gpu-type", "v100,a10", "-x", "worker1")
    equal(nodes, ["worker2"], "one of two types, and not on a node")
    answer = c.muster("submit", "-g", 1, "--gpu-type", "h200", "--", "true", code=4)
    contains(answer.err, "no node has GPUs of type 'h200'; there are: ", "the refusal")
    for kind in KINDS.values():
        contains(answer.err, kind, "the types that there are")


def features_are_shown_and_asked_for(c):
    rows = {row["name"]: row["features"] for row in c.json("nodes")["nodes"]}
    equal(rows, {"worker0": ["nvme", "ib"], "worker1": ["nvme"], "worker2": []}, "features")
    contains(c.muster("nodes").out, "nvme,ib", "the table")
    equal(place_of(c, "-g", 1, "--features", "ib,nvme")[0], ["worker0"], "both features")
    equal(place_of(c, "-g", 1, "--features", "nvme", "-x", "worker0")[0], ["worker1"], "one feature, and not on a node")
    equal(place_of(c, "-g", 1, "-w", "worker2,worker1", "-x", "worker1")[0], ["worker2"], "by name")
    answer = c.muster("submit", "-g", 1, "--features", "gdr", "--", "true", code=4)
    contains(answer.err, "there are 3 nodes, 3 without all of gdr, 0 are left", "the refusal")
    answer = c.muster("submit", "-g", 1, "--features", "ib", "-x", "worker0", "--", "true", code=4)
    contains(answer.err, "2 without all of ib, 1 excluded by worker0, 0 are left", "the refusal")
    contains(c.muster("submit", "-w", "worker9", "--", "true", code=4).err, "no node 'worker9' is registered", "the refusal")
    contains(c.muster("submit", "-x", "worker9", "--", "true", code=3).err, "no node 'worker9' is registered", "the refusal")
    contains(c.muster("submit", "-w", "a,,b", "--", "true", code=2).err, "nodelist: expected names", "the refusal")


def a_job_file_says_it_too(c):
    c.write("where.yaml", "command: [sleep, 60]\ngpus: 1\ngpu_type: [v100, a10]\nfeatures: [nvme]\nprefer: rack\n")
    job = c.submit("where.yaml")
    row = c.wait_state(job, "RUNNING")
    equal(row["nodes"], ["worker1"], "where")
    asked = row["requested"]
    equal([asked[key] for key in ("gpu_type", "features", "prefer", "exclusive")], ["v100,a10", "nvme", "rack", False], "what it asked for")
    contains(c.muster("show", job).out, "1 GPU of type v100,a10", "show")
    # It is the same job after a restart, and so is what the nodes have.
    c.kill("musterd")
    c.restart("musterd")
    wait_for(lambda: c.muster("nodes", code=None).code == 0, 20, "musterd answers")
    equal(c.show(job)["requested"], asked, "what it asked for, after a restart")
    c.muster("cancel", job)
    c.wait_final(job)
    c.write("bad.yaml", "command: 'true'\nexclusive: perhaps\n")
    contains(c.muster("submit", "bad.yaml", code=2).err, "bad.yaml:2:12: exclusive: expected true or false", "the refusal")


def what_waits_says_for_which_nodes(c):
    held = c.submit("-g", 8, "--gpu-type", "h100", "--", "sleep", "100")
    c.wait_state(held, "RUNNING")
    job = c.submit("-g", 2, "--gpu-type", "h100", "--", "true")
    reason = wait_for(lambda: c.show(job)["reason"], 10, "a reason")
    equal(reason["code"], "CONSTRAINT", "its code")
    contains(reason["text"], "waits for 2 GPUs of type h100: 0 of 8 are free; other nodes would hold it now", "its sentence")
    contains(c.muster("why", job).out, "drop --gpu-type to start now, or wait for those nodes", "the remedy")
    c.muster("cancel", held)
    equal(c.wait_final(job)["nodes"], ["worker0"], "where it ran at last")


def an_exclusive_job_is_alone(c):
    # One core of it is in use: that is enough to keep an exclusive job away.
    guest = c.submit("-w", "worker2", "--", "sleep", "100")
    c.wait_state(guest, "RUNNING")
    job = c.submit("-g", 1, "--exclusive", "--gpu-type", "a10", "--", "sh", "-c", "echo has $MUSTER_GPUS_ON_NODE; sleep 3")
    reason = wait_for(lambda: c.show(job)["reason"], 10, "a reason")
    contains(reason["text"], "waits for 8 GPUs of type a10 on whole nodes: 8 of 8 are free, enough of them, but others run beside them",
             "its sentence")
    c.muster("cancel", guest)
    row = c.wait_state(job, "RUNNING")
    equal((row["gpus"], row["requested"]["gpus"]), (8, 8), "one GPU of a whole node of eight")
    late = c.submit("-w", "worker2", "--", "true")
    check(c.show(late)["state"] == "PENDING", "nobody gets on the node meanwhile")
    used = {row["name"]: row["gpus_used"] for row in c.json("nodes")["nodes"]}
    equal(used["worker2"], 8, "GPUs in use")
    queue = [q for q in c.json("quota", "show")["queues"] if q["name"] == "default"][0]
    check(8 == queue.get("gpus_used", queue.get("used")), f"what its queue is charged for: {json.dumps(queue)}")
    equal(c.wait_final(job)["state"], "COMPLETED", "its end")
    contains(c.output(job), "has 8", "what it saw")
    c.wait_final(late)


def cores_and_memory_are_part_of_the_gang(c):
    answer = c.muster("submit", "-n", 2, "-c", 200, "--", "true", code=4)
    contains(answer.err, "2 ranks of 200 cpus", "the refusal")
    job = c.submit("-c", 15, "-w", "worker1", "-m", "2G", "--", "sleep", "100")
    c.wait_state(job, "RUNNING")
    cores = c.submit("-g", 1, "-c", 2, "-w", "worker1", "--", "true")
    reason = wait_for(lambda: c.show(cores)["reason"], 10, "a reason")
    contains(reason["text"], "waits for 2 cpus beside its GPUs on worker1: 1 are free", "what binds")
    memory = c.submit("-w", "worker1", "-m", "7G", "--", "true")
    reason = wait_for(lambda: c.show(memory)["reason"], 10, "a reason")
    contains(reason["text"], "waits for 7.0 GiB a node on worker1: the most that a node has free is 6.0 GiB", "what binds")
    c.muster("cancel", job)
    for other in (cores, memory):
        equal(c.wait_final(other)["state"], "COMPLETED", "what waited")


def pairs(ring):
    return zip(ring, ring[1:] + ring[:1])


def ranks_go_round_the_best_ring(c):
    # A DGX-1's cube mesh: which GPUs two NVLink bricks join, and which one. Four ranks by mpirun, then eight over two kinds of node.
    two = [{0, 3}, {0, 4}, {1, 2}, {1, 5}, {2, 3}, {5, 6}, {4, 7}, {6, 7}]
    job = c.submit("-g", 4, "-n", 4, "--gpu-type", "v100", "--", "sh", "-c",
                   "echo rank $RANK local $LOCAL_RANK on $MUSTER_NODE_RANK: $CUDA_VISIBLE_DEVICES nic $MUSTER_NIC; sleep 1")
    placement = c.wait_state(job, "RUNNING")["placement"]
    node = placement["nodes"][0]
    check(placement["bandwidth_gbs"] in (25, 50), f"bandwidth {placement}")
    for pair in pairs(node["gpus"]):
        check(set(pair) in two or placement["bandwidth_gbs"] == 25, f"{pair} are neighbours in {node['gpus']}")
    equal(placement["rank_order"], [f"worker1:gpu{gpu}" for gpu in node["gpus"]], "rank order")
    equal(node["nics"], [f"mlx5_{gpu // 2}" for gpu in node["gpus"]], "a NIC for two GPUs")
    contains(c.muster("show", job).out, ", NICs mlx5_", "show")
    c.wait_final(job)
    devices = ",".join(f"FAKE-dgx1-v100-{gpu}" for gpu in node["gpus"])
    equal(sorted(c.output(job).splitlines()),
          [f"rank {rank} local {rank} on 0: {devices} nic {','.join(node['nics'])}" for rank in range(4)], "what the ranks saw")
    # Ranks keep to the cores beside their GPUs, where the machine has such: those of NUMA node 0 here.
    job = c.submit("-g", 1, "-n", 1, "--gpu-type", "h100", "--", "sh", "-c",
                   "echo $MUSTER_CPUS; grep Cpus_allowed_list /proc/self/status")
    c.wait_final(job)
    asked, bound = c.output(job).split("\n")[:2]
    if asked:
        equal(bound.split()[1], asked, "the cores that a rank is bound to")
    # Two sockets of PCIe: all of one before the other.
    job = c.submit("-g", 8, "--gpu-type", "a10", "--", "sleep", "2")
    node = c.wait_state(job, "RUNNING")["placement"]["nodes"][0]
    equal(sum(a // 4 != b // 4 for a, b in pairs(node["gpus"])), 2, f"crossings between the sockets of {node['gpus']}")
    equal(node["nics"], [f"mlx5_{gpu // 4}" for gpu in node["gpus"]], "a NIC a socket")
    c.wait_final(job)
    # Ranks are numbered through the nodes in the order in which the placement has them.
    job = c.submit("-g", 16, "-n", 16, "-x", "worker0", "--", "sh", "-c", "echo $RANK $MUSTER_NODE_RANK $LOCAL_RANK; sleep 1")
    placement = c.wait_state(job, "RUNNING")["placement"]
    equal([n["ranks"] for n in placement["nodes"]], [[0, 7], [8, 15]], "ranks of each node")
    equal([g.split(":")[0] for g in placement["rank_order"]], [placement["nodes"][r // 8]["node"] for r in range(16)], "rank order")
    c.wait_final(job)
    equal(sorted(tuple(map(int, line.split())) for line in c.output(job).splitlines()),
          [(rank, rank // 8, rank % 8) for rank in range(16)], "what mpirun did")


def the_network_is_what_the_file_says(c):
    racks = {row["name"]: row["rack"] for row in c.json("nodes")["nodes"]}
    equal(racks, {"worker0": "pod0/leaf0", "worker1": "pod0/leaf1", "worker2": "rack2"}, "racks")
    job = c.submit("-g", 16, "--topology", "pod", "--", "sleep", "100")
    row = c.wait_state(job, "RUNNING")
    equal((sorted(row["nodes"]), row["placement"]["level"]), (["worker0", "worker1"], "pod"), "where")
    contains(c.muster("show", job).out, "within one pod", "show")
    contains(c.muster("show", job).out, "(racks of pod0, ", "its timeline")
    answer = c.muster("submit", "-g", 24, "--topology", "pod", "--", "true", code=4)
    contains(answer.err, "within one pod", "the refusal")
    # A preference takes what there is, here more than it asked for.
    near = c.submit("-g", 8, "--prefer", "rack", "--", "sleep", "0.5")
    equal(c.wait_state(near, "RUNNING")["placement"]["level"], "node", "what it got")
    c.wait_final(near)
    # Another file, another network; what runs is left alone.
    with open(TOPOLOGY, "w") as f:
        f.write("racks:\n  hall: [worker2]\n")
    c.kill("musterd")
    c.restart("musterd")
    wait_for(lambda: c.muster("nodes", code=None).code == 0, 20, "musterd answers")

    def racks_now():
        return {row["name"]: row["rack"] for row in c.json("nodes")["nodes"]}
    wait_for(lambda: racks_now() == {"worker0": "rack0", "worker1": "rack1", "worker2": "hall"}, 10, "racks of the new file")
    equal(c.state_of(job), "RUNNING", "what ran")
    c.muster("cancel", job)
    c.wait_final(job)


TOPOLOGY = os.path.join(tempfile.mkdtemp(prefix="mt."), "topology.yaml")
atexit.register(shutil.rmtree, os.path.dirname(TOPOLOGY))
os.chmod(os.path.dirname(TOPOLOGY), 0o755)
with open(TOPOLOGY, "w") as network:
    network.write(NETWORK)
main([a_job_runs_on_the_type_that_it_asks_for, features_are_shown_and_asked_for, a_job_file_says_it_too, what_waits_says_for_which_nodes,
      an_exclusive_job_is_alone, cores_and_memory_are_part_of_the_gang, ranks_go_round_the_best_ring,
      the_network_is_what_the_file_says],
     3, "hgx-8xh100,dgx1-v100,pcie-2x4-numa", "--racks", "3", "--features", "nvme+ib,nvme,none", "--cpus", "16", "--memory", "8G",
     "--topology", TOPOLOGY)
