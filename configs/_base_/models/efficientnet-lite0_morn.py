# The Multi-order RNN behind EfficientNet-lite0, second stage: the CNN is the frozen one of the first stage.
_base_ = './resnet101_morn.py'

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(_delete_=True, type='TIMMBackbone', model_name='tf_efficientnet_lite0'),
    head=dict(in_channels=1280))
