# The Multi-order RNN behind ResNet-101, second stage: the CNN is the frozen one of the first stage.
_base_ = './resnet101_cnn.py'

model = dict(
    frozen=('backbone', 'neck', 'head.fc'),
    backbone=dict(init_cfg=None),
    head=dict(
        _delete_=True,
        type='MultiOrderLSTMHead',
        num_classes=80,
        in_channels=2048,
        embed_dims=256,
        hidden_dims=512,
        num_steps=5,
        loss=dict(type='MaskedStepwiseBCELoss', mask='previous', steps='all'),
    ),
)
