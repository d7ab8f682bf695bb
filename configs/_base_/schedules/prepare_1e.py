# For methods that are fitted as a whole before training: one epoch without iterations. The optimiser
# is never asked; the runner wants one.
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-3))
train_cfg = dict(type='PrepareLoop', max_epochs=1)
auto_scale_lr = dict(base_batch_size=32)
