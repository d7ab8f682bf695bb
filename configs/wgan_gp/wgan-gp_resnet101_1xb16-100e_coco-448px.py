# The CNN's own classifier against a critic of label sets; both train together.
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
        decoder=dict(type='AdversarialClassifier', in_channels=2048, generator='cnn'),
        detach_scores=False,
    )
)
train_dataloader = dict(batch_size=16)
