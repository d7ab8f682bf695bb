# SRN behind ResNet-101; both train together.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    backbone=dict(out_indices=(2, 3)),
    head=dict(
        num_classes=80,
        decoder=dict(type='SRN', stage_channels=(1024, 2048), map_size=14),
        detach_scores=False,
    ),
)
train_dataloader = dict(batch_size=16)
