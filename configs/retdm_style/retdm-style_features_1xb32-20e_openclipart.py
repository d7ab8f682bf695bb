# Images and label sets in one space, on cached features.
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/linear_adamw_20e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72, decoder=dict(type='LabelSetEmbedding', in_channels=1280)))
benchmark = dict(title='RETDM-style')
