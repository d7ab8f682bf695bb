# For data sets without a validation part: the last checkpoint is the result, none is chosen.
_base_ = './default_runtime.py'

default_hooks = dict(checkpoint=dict(save_best=None, rule=None))
