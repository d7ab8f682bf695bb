# ResNet-101 of the first stage, frozen; a leaf adds head=dict(decoder=dict(type=...)).
_base_ = './resnet101_cnn.py'

model = dict(frozen=('backbone', 'neck', 'head.fc'), backbone=dict(init_cfg=None))
