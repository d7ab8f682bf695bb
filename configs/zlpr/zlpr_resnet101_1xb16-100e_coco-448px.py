# The CNN learns by ZLPR, whose border between true and false is 0.5, end to end.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/own_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(head=dict(loss_cnn=dict(type='ZLPRLoss')))
train_dataloader = dict(batch_size=16)
default_hooks = dict(paper_table=dict(rows=dict(_delete_=True, **{'ZLPR': ''})))
