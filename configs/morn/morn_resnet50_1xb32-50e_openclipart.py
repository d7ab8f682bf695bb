# Another backbone: two lines.
_base_ = './morn_resnet101_1xb32-50e_openclipart.py'

model = dict(backbone=dict(depth=50))
