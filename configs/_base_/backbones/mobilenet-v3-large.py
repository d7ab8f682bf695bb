# MobileNetV3-Large with OpenMMLab's weights.
backbone = dict(type='MobileNetV3', arch='large')
pretrained = dict(
    type='Pretrained',
    checkpoint='https://download.openmmlab.com/mmclassification/v0/mobilenet_v3/'
    'mobilenet-v3-large_8xb128_in1k_20221114-0ed9ed9a.pth',
)
in_channels = 960
