# Second stage on cached scores, at the paper's settings.
_base_ = [
    '../_base_/models/scores_morn.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72))
benchmark = dict(title='Multi-order RNN', groups=['multi-order'])
