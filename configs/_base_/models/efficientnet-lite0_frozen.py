# EfficientNet-lite0 of the first stage, frozen; a leaf adds head=dict(decoder=dict(type=...)).
_base_ = './efficientnet-lite0_cnn.py'

model = dict(
    frozen=('backbone', 'neck', 'head.fc'),
    backbone=dict(_delete_=True, **_base_.backbone),
)
