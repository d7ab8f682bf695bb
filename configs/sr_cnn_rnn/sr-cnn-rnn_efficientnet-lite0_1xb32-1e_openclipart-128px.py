# CNN and LSTM train on together, on the whole of Open Clip Art. Name what they start from, the CNN
# with its rare-first decoder (tools/model_converters/merge_decoder.py): --cfg-options load_from=...
_base_ = [
    '../_base_/models/efficientnet-lite0_sr-cnn-rnn.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/sequence.py',
    '../_base_/schedules/joint_adamw_1e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    channels_last=True, backbone=dict(init_cfg=_base_.pretrained), head=dict(num_classes=72)
)
optim_wrapper = dict(
    optimizer=dict(lr=3e-6)
)  # the best of five in configs/benchmark: hardly a change
default_hooks = dict(
    paper_table=dict(rows=dict(_delete_=True, **{'CNN': 'cnn/', 'SR-CNN-RNN': ''}))
)
