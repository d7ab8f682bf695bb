# A classifier of its own on the features of the frozen CNN, against a critic of label sets.
# Second stage. Name the first stage's checkpoint: --cfg-options load_from=...
_base_ = [
    '../_base_/models/resnet101_frozen.py',
    '../_base_/datasets/nuswide.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/linear_adamw_20e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    head=dict(num_classes=81, decoder=dict(type='AdversarialClassifier', in_channels=2048))
)
optim_wrapper = dict(clip_grad=dict(max_norm=10))
