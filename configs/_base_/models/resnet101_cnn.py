# ResNet-101 with a sigmoid classifier: the paper's first stage, and its first baseline.
model = dict(
    type='MultiLabelClassifier',
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        type='ResNet',
        depth=101,
        num_stages=4,
        out_indices=(3,),
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LabelDecoderHead', num_classes=80, in_channels=2048),
)
