# Second stage on the scores of the first, cached by tools/extract_scores.py as
# scores_{train,test}.safetensors.
_base_ = [
    '../_base_/models/scores_morn.py',
    '../_base_/datasets/scores_test_only.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/last_checkpoint_runtime.py',
]

data_root = '{{ fileDirname }}/../../data/coco/'
model = dict(head=dict(num_classes=80))
train_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(dataset=dict(data_root=data_root))
