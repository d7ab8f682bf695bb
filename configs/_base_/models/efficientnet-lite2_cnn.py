# EfficientNet-lite2 with a sigmoid classifier.
_base_ = ['./resnet101_cnn.py', '../backbones/efficientnet-lite2.py']

model = dict(
    data_preprocessor=_base_.normalisation,
    backbone=dict(_delete_=True, init_cfg=_base_.pretrained, **_base_.backbone),
    head=dict(in_channels=_base_.in_channels),
)
