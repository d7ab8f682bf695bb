# A decoder that sees the maps of EfficientNet-lite0 and trains the network along.
_base_ = './efficientnet-lite0_cnn.py'

model = dict(head=dict(in_channels=None, detach_scores=False))
