# The same for the whole model, by its own decision (a threshold of 0.5 unless its head says
# otherwise), beside those of the CNN alone.
_base_ = './cnn.py'

val_evaluator = [
    *_base_.val_evaluator,
    dict(type='PerLabelF1', use_pred_label=True),
    dict(type='PerImageF1', use_pred_label=True),
    dict(type='OverallF1', use_pred_label=True),
    dict(type='MeanAveragePrecision'),
    dict(type='TopOneAccuracy'),
]
test_evaluator = val_evaluator
