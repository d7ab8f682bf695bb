# The label decoder and the CNN on the test side, for data sets without a validation part.
_base_ = './decoder.py'

val_evaluator = None
val_cfg = None
