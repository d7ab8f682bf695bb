# A linear classifier on cached features learns by the two-way loss.
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/linear_adamw_20e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(type='LinearClassifier', in_channels=1280, loss=dict(type='TwoWayLoss')),
        decision=dict(type='ScoreMap'),
    )
)
default_hooks = dict(paper_table=dict(rows=dict(_delete_=True, **{'CNN': 'cnn/', 'Two-way': ''})))
benchmark = dict(title='Two-way loss')
