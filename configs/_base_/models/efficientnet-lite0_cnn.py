# EfficientNet-lite0 with a sigmoid classifier.
_base_ = ['./resnet101_cnn.py', '../backbones/efficientnet-lite0.py']

# With this layout a training step on a CPU takes 0.6 to 0.75 of the time (docs/speed.md).
model = dict(
    channels_last=True,
    data_preprocessor=_base_.normalisation,
    backbone=dict(_delete_=True, init_cfg=_base_.pretrained, **_base_.backbone),
    head=dict(in_channels=_base_.in_channels),
)
