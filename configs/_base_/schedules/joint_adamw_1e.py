# CNN and decoder train on together, both trained before: the CNN's fine-tuning for one epoch more,
# at the rate that configs/benchmark found best for the Multi-order RNN.
_base_ = './cnn_adamw_8e.py'

optim_wrapper = dict(optimizer=dict(lr=1e-4))
train_cfg = dict(max_epochs=1)
