# The same with another order of the labels.
_base_ = './cnn-rnn-frequent-first_resnet101_1xb32-50e_nuswide-448px.py'

model = dict(head=dict(decoder=dict(order='rare_first')))
