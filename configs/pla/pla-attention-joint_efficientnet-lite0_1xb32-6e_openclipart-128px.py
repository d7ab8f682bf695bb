# PLA with attention behind EfficientNet-lite0; both train together, for as long as the CNN alone.
_base_ = [
    '../_base_/models/efficientnet-lite0_cnn.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/sequence.py',
    '../_base_/schedules/cnn_adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    channels_last=True,
    head=dict(
        num_classes=72,
        in_channels=None,
        decoder=dict(type='AttentionSequenceLSTM', in_channels=1280, order='pla'),
        detach_scores=False,
    ),
)
# A transformer or LSTM learns at the backbone's rate, which is among those of cached maps.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.decoder': dict(lr_mult=0.15)}))
train_cfg = dict(max_epochs=6)
benchmark = dict(tier='joint', title='PLA with attention, joint')
