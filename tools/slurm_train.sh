#!/usr/bin/env bash
# Train under Slurm: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] [SRUN_ARGS=...] tools/slurm_train.sh PARTITION JOB_NAME
# CONFIG [flags of tools/train.py]. One task a GPU; more GPUs than GPUS_PER_NODE take several machines.
set -euo pipefail
tools="$(dirname "$0")"
exec "$tools/slurm_run.sh" "$1" "$2" "$tools/train.py" "${@:3}"
