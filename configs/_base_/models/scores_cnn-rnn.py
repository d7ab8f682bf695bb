# CNN-RNN's decoder alone, on cached scores.
model = dict(
    type='ScoreClassifier',
    head=dict(
        type='LabelDecoderHead',
        num_classes=80,
        in_channels=None,
        decoder=dict(
            type='LabelSequenceLSTM', order='frequent_first', embed_dims=256, hidden_dims=512
        ),
    ),
)
