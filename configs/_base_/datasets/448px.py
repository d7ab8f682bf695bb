# What MS-COCO, NUS-WIDE and PASCAL VOC have in common: 448 px, as most work on them since ML-GCN
# (Chen et al., CVPR 2019): random crops with sides from half to the whole, mirrored or not; the
# whole image, squeezed to a square, in tests.
#
# There is no validation part: the paper trains on all of the training side, and a checkpoint must
# not be chosen on the
# test side. So nothing is chosen: the last checkpoint is the result.
dataset_type = 'CheckedMultiLabelDataset'
image_size = 448

train_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='RandomResizedCrop', scale=image_size, crop_ratio_range=(0.25, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='Resize', scale=(image_size, image_size)),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='SeededSampler', shuffle=True),
    dataset=dict(type=dataset_type, ann_file='train.json', pipeline=train_pipeline),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, ann_file='test.json', pipeline=test_pipeline, test_mode=True),
)
