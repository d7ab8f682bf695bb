# The columns of the paper's tables for the CNN alone, keys cnn/...
val_evaluator = [
    dict(type='PerLabelF1', thr=0.5, item='cnn_score', prefix='cnn/per-label'),
    dict(type='PerImageF1', thr=0.5, item='cnn_score', prefix='cnn/per-image'),
    dict(type='TopOneAccuracy', item='cnn_score', prefix='cnn/one-step'),
]
test_evaluator = val_evaluator
table_rows = {'CNN': 'cnn/'}
table_hook = dict(type='PaperTableHook', rows=table_rows)
val_cfg = dict()
test_cfg = dict()
