# First stage of the demo: fine-tune the CNN on the slice.
_base_ = [
    '../_base_/models/efficientnet-lite0_cnn.py',
    '../_base_/datasets/openclipart_mini.py',
    '../_base_/evaluation/cnn.py',
    '../_base_/schedules/cnn_adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=41))
default_hooks = dict(
    logger=dict(interval=5), checkpoint=dict(interval=8, save_best='cnn/per-image/f1-score')
)
