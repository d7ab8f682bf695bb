# The same CNN, which also returns the map of an earlier stage, for methods that see several.
_base_ = './cnn_efficientnet-lite2_1xb32-6e_corel5k-224px.py'

model = dict(backbone=dict(type='TIMMStages', stages=(3,)))
