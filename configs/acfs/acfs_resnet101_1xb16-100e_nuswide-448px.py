# The CNN's attention follows the image when it is mirrored or made smaller: four views a step.
_base_ = './four-views_resnet101_1xb16-100e_nuswide-448px.py'

model = dict(consistency=dict(type='AttentionConsistencyLoss'))
