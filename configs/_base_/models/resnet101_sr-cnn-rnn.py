# SR-CNN-RNN behind ResNet-101: CNN and rare-first CNN-RNN train together; the label probabilities
# between them keep their own binary cross-entropy (loss_cnn), which regularises the CNN.
_base_ = './resnet101_cnn-rnn.py'

model = dict(
    frozen=(),
    backbone=dict(
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='torchvision://resnet101')
    ),
    head=dict(decoder=dict(order='rare_first'), detach_scores=False),
)
