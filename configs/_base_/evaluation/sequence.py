# The columns of the paper's Tables 1 and 4 for a decoder that decides itself, beside those of the
# CNN alone.
_base_ = './cnn.py'

val_evaluator = [
    *_base_.val_evaluator,
    dict(type='PerLabelF1', use_pred_label=True),
    dict(type='PerImageF1', use_pred_label=True),
    dict(type='TopOneAccuracy'),
]
test_evaluator = val_evaluator
