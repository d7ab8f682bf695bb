# CNN and decoder in one run, from ImageNet weights, by the CNN's recipe.
_base_ = [
    '../_base_/models/resnet101_morn-joint.py',
    '../_base_/datasets/coco.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

train_dataloader = dict(batch_size=16)
