# A linear classifier on cached features, the same for every loss.
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=1)
auto_scale_lr = dict(base_batch_size=32)
benchmark = dict(groups=['losses'], search={'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]})
