# CNN and LSTM in one run, from ImageNet weights, by the CNN's recipe.
_base_ = [
    '../_base_/models/resnet101_sr-cnn-rnn.py',
    '../_base_/datasets/nuswide.py',
    '../_base_/evaluation/sequence_test_only.py',
    '../_base_/schedules/cnn_sgd_100e.py',
    '../_base_/last_checkpoint_runtime.py',
]

model = dict(head=dict(num_classes=81))
train_dataloader = dict(batch_size=16)
default_hooks = dict(
    paper_table=dict(rows=dict(_delete_=True, **{'CNN': 'cnn/', 'SR-CNN-RNN': ''}))
)
