# The maps of all stages fused behind a frozen ResNet-101, and the number of labels.
# Second stage. Name the first stage's checkpoint: --cfg-options load_from=...
_base_ = [
    '../_base_/models/resnet101_frozen.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/map_adamw_15e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    head=dict(num_classes=80, decoder=dict(type='MultiScaleFusion', quantity=True)),
)
