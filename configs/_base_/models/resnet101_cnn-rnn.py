# CNN-RNN behind ResNet-101, second stage: the CNN is the frozen one of the first stage, the decoder
# names the labels in a fixed order.
_base_ = './resnet101_morn.py'

model = dict(
    head=dict(
        _delete_=True,
        type='LabelDecoderHead',
        num_classes=80,
        in_channels=2048,
        decoder=dict(
            type='LabelSequenceLSTM', order='frequent_first', embed_dims=256, hidden_dims=512
        ),
    )
)
