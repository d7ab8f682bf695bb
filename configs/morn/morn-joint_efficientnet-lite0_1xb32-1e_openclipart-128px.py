# CNN and decoder train on together, both trained before. Name what they start from
# (tools/model_converters/merge_decoder.py): --cfg-options load_from=...
_base_ = [
    '../_base_/models/efficientnet-lite0_morn.py',
    '../_base_/datasets/openclipart_128px.py',
    '../_base_/evaluation/decoder.py',
    '../_base_/schedules/joint_adamw_1e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    channels_last=True,
    backbone=dict(init_cfg=_base_.pretrained),
    frozen=(),
    head=dict(num_classes=72, detach_scores=False),
)
