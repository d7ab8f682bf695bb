# Query2Label behind ResNet-101, with the sizes of the authors' release; both train together.
_base_ = [
    '../_base_/models/resnet101_cnn.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(
    head=dict(
        num_classes=80,
        in_channels=None,
        decoder=dict(
            type='Query2Label',
            in_channels=2048,
            feedforward_dims=8192,
            self_attention=False,
            loss=dict(
                type='TimmLoss',
                name='AsymmetricLossMultiLabel',
                gamma_neg=2,
                gamma_pos=0,
                disable_torch_grad_focal_loss=True,
            ),
        ),
        detach_scores=False,
    ),
)
train_dataloader = dict(batch_size=16)
