#!/bin/sh
# The demo's training as a script that is submitted as it is:
#
#     muster submit train.sh                        # on two nodes, as the lines below say
#     muster submit --time 10m train.sh --steps 50  # the command line goes over the lines; what follows the name goes to muster-train
#
# Preempted, it checkpoints, leaves, and goes on at that step: muster-train speaks the job contract (docs/job-contract.md).
#
#MUSTER --name gpt
#MUSTER --nodes 2 --gpus 4
#MUSTER --time 2h --grace 2m
#MUSTER --output gpt-%j.out
#MUSTER -e OMP_NUM_THREADS=1

set -eu

# A stored copy of this file runs, so that $0 is not where it was: paths go from the folder where it was submitted.
folder=$MUSTER_SUBMIT_DIR/gpt
licences=/usr/share/common-licenses

echo "job $MUSTER_JOB_ID, attempt $MUSTER_ATTEMPT, on $MUSTER_NODELIST with $MUSTER_GPUS_ON_NODE GPUs each"

# Inside an allocation mpirun runs over all of it: a process a GPU, without ssh.
exec mpirun muster-train --data $licences/GPL-3 --data $licences/Apache-2.0 --steps 200 --checkpoint "$folder" "$@"
