# The labels as a sequence, in the order that costs least (MLA).
# Second stage on cached scores.
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/sequence.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(num_classes=72, decoder=dict(type='LabelSequenceLSTM', order='mla', average='steps'))
)
benchmark = dict(title='MLA', groups=['sequences'])
