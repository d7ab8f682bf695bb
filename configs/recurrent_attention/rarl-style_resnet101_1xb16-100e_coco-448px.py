# Glimpses of ResNet-101's map, their places drawn, and taught by reward; both train together.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    head=dict(
        num_classes=80,
        in_channels=None,
        decoder=dict(type='RecurrentAttention', in_channels=2048, glimpses='sampled'),
        detach_scores=False,
    )
)
train_dataloader = dict(batch_size=16)
