# Second stage at the paper's settings. Name the first stage's checkpoint: --cfg-options
# load_from=...
_base_ = [
    '../_base_/models/resnet101_morn.py',
    '../_base_/datasets/openclipart.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72))
