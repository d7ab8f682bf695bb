# The Multi-order RNN and its CNN in one run: nothing is frozen, and the decoder's gradient reaches
# the CNN.
_base_ = './resnet101_morn.py'

model = dict(
    frozen=(),
    backbone=dict(
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='torchvision://resnet101')
    ),
    head=dict(detach_scores=False),
)
