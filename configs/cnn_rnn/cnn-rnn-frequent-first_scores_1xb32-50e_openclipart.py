# Second stage on cached scores.
_base_ = [
    '../_base_/models/cached.py',
    '../_base_/datasets/openclipart_cached.py',
    '../_base_/evaluation/sequence.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(
            type='LabelSequenceLSTM', order='frequent_first', embed_dims=256, hidden_dims=512
        ),
    )
)
benchmark = dict(title='CNN-RNN, frequent first', groups=['sequences', 'fixed-order'])
