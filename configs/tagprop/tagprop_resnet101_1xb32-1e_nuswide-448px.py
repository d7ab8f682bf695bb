# TagProp behind the ResNet-101 of the first stage.
_base_ = [
    '../_base_/models/resnet101_frozen.py',
    '../_base_/datasets/nuswide.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/prepare_1e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(head=dict(num_classes=81, decoder=dict(type='TagProp', num_neighbours=200)))
