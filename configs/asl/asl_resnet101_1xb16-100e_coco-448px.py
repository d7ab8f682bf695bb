# The CNN learns by the asymmetric loss, end to end.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/own_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    head=dict(
        loss_cnn=dict(
            type='TimmLoss',
            name='AsymmetricLossMultiLabel',
            gamma_neg=4,
            gamma_pos=0,
            disable_torch_grad_focal_loss=True,
        )
    )
)
train_dataloader = dict(batch_size=16)
default_hooks = dict(paper_table=dict(rows=dict(_delete_=True, **{'ASL': ''})))
