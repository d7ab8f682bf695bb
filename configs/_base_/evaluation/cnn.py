# The columns of the paper's Tables 1 and 4 and those of other papers, for the CNN alone, under cnn/.
# A model without a CNN in front of it has no figures of these.
val_evaluator = [
    dict(type='PerLabelF1', thr=0.5, item='cnn_score', prefix='cnn/per-label'),
    dict(type='PerImageF1', thr=0.5, item='cnn_score', prefix='cnn/per-image'),
    dict(type='OverallF1', thr=0.5, item='cnn_score', prefix='cnn/overall'),
    dict(type='MeanAveragePrecision', item='cnn_score', prefix='cnn/multi-label'),
    dict(type='TopOneAccuracy', item='cnn_score', prefix='cnn/one-step'),
    dict(type='CalibratedF1', item='cnn_score', prefix='cnn-calibrated'),
]
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
