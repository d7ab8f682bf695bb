# The maps of all stages fused behind ResNet-101, and the number of labels; all train together.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    head=dict(
        num_classes=80,
        in_channels=None,
        decoder=dict(type='MultiScaleFusion', quantity=True),
        detach_scores=False,
    ),
)
train_dataloader = dict(batch_size=16)
