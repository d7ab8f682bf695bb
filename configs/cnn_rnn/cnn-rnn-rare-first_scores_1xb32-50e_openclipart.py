# The same with another order of the labels.
_base_ = './cnn-rnn-frequent-first_scores_1xb32-50e_openclipart.py'

model = dict(head=dict(decoder=dict(order='rare_first')))
default_hooks = dict(
    paper_table=dict(rows=dict(_delete_=True, **{'CNN': 'cnn/', 'CNN-RNN, rare-first': ''}))
)
