# A linear classifier on cached features against a critic of label sets.
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/linear_adamw_20e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(num_classes=72, decoder=dict(type='AdversarialClassifier', in_channels=1280))
)
optim_wrapper = dict(clip_grad=dict(max_norm=10))
benchmark = dict(title='WGAN-gp')
