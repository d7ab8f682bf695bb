# ML-Decoder behind EfficientNet-lite0; both train together, for as long as the CNN alone.
_base_ = [
    '../_base_/models/efficientnet-lite0_cnn.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/cnn_adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    channels_last=True,
    head=dict(
        num_classes=72,
        in_channels=None,
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
        detach_scores=False,
    ),
)
# A transformer or LSTM learns at the backbone's rate, which is among those of cached maps.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.decoder': dict(lr_mult=0.15)}))
train_cfg = dict(max_epochs=6)
benchmark = dict(tier='joint', title='ML-Decoder, joint')
