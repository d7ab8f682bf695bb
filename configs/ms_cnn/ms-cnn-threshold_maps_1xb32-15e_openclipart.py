# Cached maps of two stages fused, decided by a threshold: MS-CNN without LQP.
# tools/extract_scores.py ... --stage-maps
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/map_adamw_15e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(type='MultiScaleFusion', stage_channels=(112, 1280), quantity=False),
    )
)
benchmark = dict(title='MS-CNN')
