# The same with another order of the labels.
_base_ = './cnn-rnn-frequent-first_scores_1xb32-50e_openclipart.py'

model = dict(head=dict(decoder=dict(order='lexicographic')))
benchmark = dict(title='CNN-RNN, lexicographic')
