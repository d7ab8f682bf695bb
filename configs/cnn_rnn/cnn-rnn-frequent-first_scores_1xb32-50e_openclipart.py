# Second stage on cached scores.
_base_ = [
    '../_base_/models/scores_cnn-rnn.py',
    '../_base_/datasets/openclipart_scores.py',
    '../_base_/evaluation/sequence.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72))
default_hooks = dict(
    paper_table=dict(rows=dict(_delete_=True, **{'CNN': 'cnn/', 'CNN-RNN, frequent-first': ''}))
)
