_base_ = ['./cnn_resnet101_1xb16-100e_coco-448px.py', '../_base_/backbones/deit-small.py']

model = dict(
    backbone=dict(_delete_=True, init_cfg=_base_.pretrained, **_base_.backbone),
    neck=_base_.neck,
    head=dict(in_channels=_base_.in_channels),
)
