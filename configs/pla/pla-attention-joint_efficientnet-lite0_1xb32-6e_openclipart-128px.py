# PLA with attention behind EfficientNet-lite0; both train together, for as long as the CNN alone.
_base_ = [
    '../_base_/models/efficientnet-lite0_joint.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/sequence.py',
    '../_base_/schedules/joint_adamw_6e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(type='AttentionSequenceLSTM', in_channels=1280, order='pla'),
    ),
)
benchmark = dict(tier='joint', title='PLA with attention, joint')
