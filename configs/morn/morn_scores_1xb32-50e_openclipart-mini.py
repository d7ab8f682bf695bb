# Second stage of the demo, on cached scores.
_base_ = './morn_scores_1xb32-50e_openclipart.py'

data_root = '{{ fileDirname }}/../../work_dirs/demo/scores/'
model = dict(head=dict(num_classes=41))
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
# The paper's 1e-4 is for thousands of batches an epoch; the slice has 25.
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(val_interval=10)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=10))
