# CNN and decoder in one run, from ImageNet weights, by the CNN's recipe.
_base_ = [
    '../_base_/models/resnet101_morn-joint.py',
    '../_base_/datasets/voc.py',
    '../_base_/evaluation/decoder_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(head=dict(num_classes=20))
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(
    optimizer=dict(lr=0.01 / 20, weight_decay=1e-4 * 20)
)  # for 20 labels: see the schedule
