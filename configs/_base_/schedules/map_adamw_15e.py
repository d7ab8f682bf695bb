# A decoder of cached feature maps, the same for every method.
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=3e-4, weight_decay=1e-4))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=15, val_interval=1)
auto_scale_lr = dict(base_batch_size=32)
benchmark = dict(search={'optim_wrapper.optimizer.lr': [1e-4, 3e-4, 1e-3]})
