# The demo's model on images: tests and predicts with the decoder that was trained on scores and
# merged; trains as well.
_base_ = [
    '../_base_/models/efficientnet-lite0_morn.py',
    '../_base_/datasets/openclipart_mini.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/decoder_rmsprop_50e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=41))
test_evaluator = [
    *_base_.test_evaluator,
    dict(type='ConstantAnswer', ann_file=_base_.train_dataloader.dataset.data_root + 'train.json'),
]
