# Glimpses of cached maps, their places by the gradient of a spatial transformer:
# tools/extract_scores.py ... --feature-map
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/map_adamw_15e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72, decoder=dict(type='RecurrentAttention', in_channels=1280)))
benchmark = dict(title='Recurrent attention, by gradient', groups=['attention'])
