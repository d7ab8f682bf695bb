# The teacher alone: a window detector that learns from image labels:
# tools/extract_scores.py ... --features --feature-map
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/map_adamw_15e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72, decoder=dict(type='DistilledClassifier', in_channels=1280, train='teacher')
    )
)
benchmark = dict(title='Window teacher')
