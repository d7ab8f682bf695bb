# ML-Decoder behind EfficientNet-lite0; both train together, for as long as the CNN alone.
_base_ = [
    '../_base_/models/efficientnet-lite0_joint.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/joint_adamw_6e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    head=dict(
        num_classes=72,
        decoder=dict(
            type='MLDecoder',
            in_channels=1280,
            embed_dims=256,
            loss=dict(
                type='TimmLoss',
                name='AsymmetricLossMultiLabel',
                gamma_neg=4,
                gamma_pos=0,
                disable_torch_grad_focal_loss=True,
            ),
        ),
    ),
)
benchmark = dict(tier='joint', title='ML-Decoder, joint')
