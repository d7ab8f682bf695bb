# Glimpses of cached maps, their places drawn, and taught by reward:
# tools/extract_scores.py ... --feature-map
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
        decoder=dict(type='RecurrentAttention', in_channels=1280, glimpses='sampled'),
    )
)
benchmark = dict(title='Recurrent attention, sampled', groups=['attention'])
