# The CNN's own classifier learns from labels and from a window detector on its map; all train
# together.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/nuswide.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    head=dict(
        num_classes=81,
        decoder=dict(
            type='DistilledClassifier',
            in_channels=2048,
            student='cnn',
            teacher=dict(window_sizes=(3, 6, 10)),  # of 14 places a side
        ),
        detach_scores=False,
    )
)
train_dataloader = dict(batch_size=16)
