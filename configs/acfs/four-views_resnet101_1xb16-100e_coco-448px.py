# The control of ACfs: the same four views and weighted cross-entropy, without consistency.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/cnn_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    type='FourViewClassifier',
    small_scale=6 / 7,  # 384 of 448 px
    head=dict(num_classes=80, loss_cnn=dict(type='FrequencyWeightedBCELoss', num_classes=80)),
)
train_dataloader = dict(batch_size=16)
