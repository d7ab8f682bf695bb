# The CNN's attention follows the image when it is mirrored or made smaller: four views a step.
_base_ = './four-views_efficientnet-lite0_1xb32-6e_openclipart-128px.py'

model = dict(consistency=dict(type='AttentionConsistencyLoss'))
benchmark = dict(title='ACfs')
