# CNN and decoder together, for as long as the CNN alone. A decoder that is a network of its own
# learns at the backbone's rate, which is among those of cached maps.
_base_ = './cnn_adamw_8e.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'head.decoder': dict(lr_mult=0.15)}))
train_cfg = dict(max_epochs=6)
