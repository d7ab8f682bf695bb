# The CNN alone on the test side, for data sets without a validation part.
_base_ = './cnn.py'

val_evaluator = None
val_cfg = None
