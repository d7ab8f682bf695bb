# DeiT-S with OpenMMLab's weights. Its feature is the class token: no neck. The position embedding
# belongs to one image size; that of the weights (224 px) is interpolated when they are loaded.
backbone = dict(type='VisionTransformer', arch='deit-small', img_size=448, patch_size=16)
pretrained = dict(
    type='Pretrained',
    checkpoint='https://download.openmmlab.com/mmclassification/v0/deit/'
    'deit-small_pt-4xb256_in1k_20220218-9425b9bb.pth',
)
in_channels = 384
neck = None
