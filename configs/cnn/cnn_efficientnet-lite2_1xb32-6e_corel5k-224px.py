# First stage on Corel5K, 224 px; the benchmark keeps its backbone frozen (--frozen).
_base_ = [
    '../_base_/models/efficientnet-lite2_cnn.py',
    '../_base_/datasets/corel5k.py',
    '../_base_/evaluation/cnn.py',
    '../_base_/schedules/cnn_adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(channels_last=True, head=dict(num_classes=374))
train_cfg = dict(max_epochs=6)
default_hooks = dict(checkpoint=dict(save_best='cnn/per-image/f1-score'))
