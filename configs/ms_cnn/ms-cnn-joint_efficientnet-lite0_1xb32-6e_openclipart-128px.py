# MS-CNN+LQP behind EfficientNet-lite0; both train together, for as long as the CNN alone.
_base_ = [
    '../_base_/models/efficientnet-lite0_cnn.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/cnn_adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    channels_last=True,
    backbone=dict(type='TIMMStages', stages=(3,)),
    head=dict(
        num_classes=72,
        in_channels=None,
        decoder=dict(type='MultiScaleFusion', stage_channels=(112, 1280), quantity=True),
        detach_scores=False,
    ),
)
# The fusion learns at the backbone's rate, which is among those of cached maps.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.decoder': dict(lr_mult=0.15)}))
train_cfg = dict(max_epochs=6)
benchmark = dict(tier='joint', title='MS-CNN+LQP, joint')
