# SR-CNN-RNN behind EfficientNet-lite0.
_base_ = './efficientnet-lite0_cnn-rnn.py'

model = dict(frozen=(), head=dict(decoder=dict(order='rare_first'), detach_scores=False))
