# CSRA behind EfficientNet-lite0; both train together, for as long as the CNN alone.
_base_ = [
    '../_base_/models/efficientnet-lite0_joint.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/cnn_adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(type='CSRA', in_channels=1280, num_heads=1, lam=0.1),
    ),
)
train_cfg = dict(max_epochs=6)
benchmark = dict(tier='joint', title='CSRA, joint')
