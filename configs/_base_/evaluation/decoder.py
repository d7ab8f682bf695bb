# The columns of the paper's Tables 1 and 4 for the label decoder, beside those of the CNN alone.
_base_ = './cnn.py'

val_evaluator = [
    *_base_.val_evaluator,
    dict(type='PerLabelF1', thr=0.5),
    dict(type='PerImageF1', thr=0.5),
    dict(type='TopOneAccuracy'),
]
test_evaluator = val_evaluator
