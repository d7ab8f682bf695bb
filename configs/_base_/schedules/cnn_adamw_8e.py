# A short fine-tuning of a CNN that starts from ImageNet weights; the classifier learns faster than
# the backbone.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.15))),
)
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=8, val_interval=1)
auto_scale_lr = dict(base_batch_size=32)
benchmark = dict(search={'optim_wrapper.optimizer.lr': [2e-3, 4e-3, 8e-3]})
