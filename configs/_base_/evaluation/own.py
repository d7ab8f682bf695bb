# The model's own decision alone: for a CNN whose scores rank labels, so that 0.5 means nothing.
_base_ = './decoder.py'

val_evaluator = [metric for metric in _base_.val_evaluator if metric.get('item') != 'cnn_score']
test_evaluator = val_evaluator
