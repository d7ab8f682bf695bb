_base_ = ['./morn_resnet101_1xb32-50e_coco-448px.py', '../_base_/backbones/efficientnet-lite0.py']

model = dict(
    data_preprocessor=_base_.normalisation,
    backbone=dict(_delete_=True, **_base_.backbone),
    head=dict(in_channels=_base_.in_channels),
)
