# Swin-T with OpenMMLab's weights.
backbone = dict(
    type='SwinTransformer', arch='tiny', img_size=448, drop_path_rate=0.2, pad_small_map=True
)
pretrained = dict(
    type='Pretrained',
    checkpoint='https://download.openmmlab.com/mmclassification/v0/swin-transformer/'
    'swin_tiny_224_b16x64_300e_imagenet_20210616_090925-66df6be6.pth',
)
in_channels = 768
