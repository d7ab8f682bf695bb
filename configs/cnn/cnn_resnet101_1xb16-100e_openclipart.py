# First stage: fine-tune the CNN.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/openclipart.py',
    '../_base_/evaluation/cnn.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72))
train_dataloader = dict(batch_size=16)
default_hooks = dict(checkpoint=dict(save_best='cnn/per-image/f1-score'))
