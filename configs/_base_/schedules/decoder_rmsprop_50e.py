# The paper's training of the decoder (Sec. 4.3): batch 32 in total, RMSProp, learning rate 1e-4, 50
# epochs.
optim_wrapper = dict(optimizer=dict(type='FusedRMSprop', lr=1e-4))
param_scheduler = None  # the rate stays
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
auto_scale_lr = dict(base_batch_size=32)
benchmark = dict(search={'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3]})
