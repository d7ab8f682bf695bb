# A classifier on cached features learns from labels and from a window detector, which learns along:
# tools/extract_scores.py ... --features --feature-map
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/map_adamw_15e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72, decoder=dict(type='DistilledClassifier', in_channels=1280)))
benchmark = dict(title='S-Cls, window teacher')
