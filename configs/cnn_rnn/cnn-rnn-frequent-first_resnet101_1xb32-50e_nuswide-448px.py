# Second stage. Name the first stage's checkpoint: --cfg-options load_from=...
_base_ = [
    '../_base_/models/resnet101_cnn-rnn.py',
    '../_base_/datasets/nuswide.py',
    '../_base_/evaluation/sequence_test_only.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(head=dict(num_classes=81))
