# ConvNeXt-T with OpenMMLab's weights. It pools by itself: no neck.
backbone = dict(type='ConvNeXt', arch='tiny', drop_path_rate=0.1)
pretrained = dict(
    type='Pretrained',
    checkpoint='https://download.openmmlab.com/mmclassification/v0/convnext/'
    'convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth',
)
in_channels = 768
neck = None
