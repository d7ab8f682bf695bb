# The Multi-order RNN's decoder alone, on cached scores.
model = dict(
    type='ScoreClassifier',
    head=dict(
        type='MultiOrderLSTMHead',
        num_classes=80,
        in_channels=None,
        embed_dims=256,
        hidden_dims=512,
        num_steps=5,
        loss=dict(type='MaskedStepwiseBCELoss', mask='previous', steps='all'),
    ),
)
