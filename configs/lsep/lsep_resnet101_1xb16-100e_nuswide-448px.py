# The CNN learns to rank labels by LSEP, end to end.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/nuswide.py',
    '../_base_/evaluation/own_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    head=dict(
        num_classes=81,
        loss_cnn=dict(type='LSEPLoss'),
        decision=dict(type='LearntThresholds', in_channels=2048),
    )
)
train_dataloader = dict(batch_size=16)
default_hooks = dict(paper_table=dict(rows=dict(_delete_=True, **{'LSEP': ''})))
