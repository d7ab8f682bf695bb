# The same with another order of the labels.
_base_ = './cnn-rnn-frequent-first_efficientnet-lite0_1xb32-50e_openclipart-128px.py'

model = dict(head=dict(decoder=dict(order='lexicographic')))
