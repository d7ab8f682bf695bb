# The Multi-order RNN behind EfficientNet-lite0, second stage: the CNN is the frozen one of the
# first stage.
_base_ = ['./resnet101_morn.py', '../backbones/efficientnet-lite0.py']

model = dict(
    data_preprocessor=_base_.normalisation,
    backbone=dict(_delete_=True, **_base_.backbone),
    head=dict(in_channels=_base_.in_channels),
)
