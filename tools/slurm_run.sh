#!/usr/bin/env bash
# What slurm_train.sh and slurm_test.sh share: tools/slurm_run.sh PARTITION JOB_NAME SCRIPT [arguments of the script]
set -euo pipefail
gpus="${GPUS:-8}"
per_node="${GPUS_PER_NODE:-8}"
((per_node > gpus)) && per_node="$gpus"
if ((gpus % per_node)); then
    echo "GPUS=$gpus is no multiple of GPUS_PER_NODE=$per_node" >&2
    exit 2
fi
# shellcheck disable=SC2086  # SRUN_ARGS holds several arguments
exec srun --partition="$1" --job-name="$2" --gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$3" "${@:4}" --launcher slurm
