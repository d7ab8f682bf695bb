# The same on the test side, for data sets without a validation part.
_base_ = './own.py'

val_evaluator = None
val_cfg = None
