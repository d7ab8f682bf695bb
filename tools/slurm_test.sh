#!/usr/bin/env bash
# Test under Slurm: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] [SRUN_ARGS=...] tools/slurm_test.sh PARTITION JOB_NAME
# CONFIG CHECKPOINT [flags of tools/test.py]. One task a GPU; more GPUs than GPUS_PER_NODE take several machines.
set -euo pipefail
tools="$(dirname "$0")"
exec "$tools/slurm_run.sh" "$1" "$2" "$tools/test.py" "${@:3}"
