# The same CNN, which also returns the map of an earlier stage, for methods that see several.
_base_ = './cnn_efficientnet-lite0_1xb32-6e_openclipart-128px.py'

model = dict(backbone=dict(type='TIMMStages', stages=(3,)))
