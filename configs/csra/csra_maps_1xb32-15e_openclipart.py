# CSRA on cached maps of Open Clip Art: tools/extract_scores.py ... --feature-map
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/map_adamw_15e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(num_classes=72, decoder=dict(type='CSRA', in_channels=1280, num_heads=1, lam=0.1))
)
# A linear classifier at every place: its rates are those of linear classifiers.
benchmark = dict(
    title='CSRA',
    groups=['attention'],
    search={'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]},
)
