# MS-CNN+LQP behind EfficientNet-lite0; both train together, for as long as the CNN alone.
_base_ = [
    '../_base_/models/efficientnet-lite0_joint.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/joint_adamw_6e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(type='TIMMStages', stages=(3,)),
    head=dict(
        num_classes=72,
        decoder=dict(type='MultiScaleFusion', stage_channels=(112, 1280), quantity=True),
    ),
)
benchmark = dict(tier='joint', title='MS-CNN+LQP, joint')
