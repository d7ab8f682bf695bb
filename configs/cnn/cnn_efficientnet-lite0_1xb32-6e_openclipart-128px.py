# First stage on the whole of Open Clip Art, within minutes on a CPU.
_base_ = [
    '../_base_/models/efficientnet-lite0_cnn.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/cnn.py',
    '../_base_/schedules/cnn_adamw_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=72))
# The rate is the best of 2e-3, 4e-3 and 8e-3 on the validation side, where the last of the 6 epochs
# no longer gain (configs/benchmark).
optim_wrapper = dict(optimizer=dict(lr=4e-3))
train_cfg = dict(max_epochs=6)
default_hooks = dict(checkpoint=dict(save_best='cnn/per-image/f1-score'))
