# CNN and decoder train on together, both trained before: one epoch, at the rate that configs/benchmark found best, the CNN's
# backbone at a smaller one, as in its own fine-tuning.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=3e-5, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.15))))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
auto_scale_lr = dict(base_batch_size=32)
