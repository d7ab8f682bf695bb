# morn-bn_scores_1xb32-15e_openclipart.py on images.
_base_ = './morn_efficientnet-lite0_1xb32-50e_openclipart-128px.py'

model = dict(head=dict(state_norm=dict(eps=1e-3, momentum=0.05)))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
train_cfg = dict(max_epochs=15)
