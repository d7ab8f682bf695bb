#!/usr/bin/env bash
# Train on several GPUs (or CPU processes): tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
# Several machines: the same command on each, with NNODES, NODE_RANK and MASTER_ADDR set; MASTER_PORT
# (or PORT, as MMPretrain's scripts call it) where 29500 is taken.
set -euo pipefail
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$2" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-${PORT:-29500}}" \
    "$(dirname "$0")/train.py" "$1" --launcher pytorch "${@:3}"
