# Cached scores of Open Clip Art, made by tools/extract_scores.py. No transforms, no workers:
# batches are slices in memory.
data_root = '{{ fileDirname }}/../../../data/openclipart/'

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,  # MMPretrain's tools default to True, which needs workers
    pin_memory=False,
    sampler=dict(type='SeededSampler', shuffle=True),
    collate_fn=dict(type='take_whole_batch'),
    dataset=dict(type='ScoreDataset', data_root=data_root, ann_file='scores_train.safetensors'),
)
val_dataloader = dict(
    batch_size=512,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='take_whole_batch'),
    dataset=dict(
        type='ScoreDataset', data_root=data_root, ann_file='scores_val.safetensors', test_mode=True
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], ann_file='scores_test.safetensors')
)
