# The control of ACfs: the same four views and weighted cross-entropy, without consistency.
_base_ = '../cnn/cnn_efficientnet-lite0_1xb32-6e_openclipart-128px.py'

model = dict(
    type='FourViewClassifier',
    small_scale=3 / 4,  # 96 of 128 px
    head=dict(loss_cnn=dict(type='FrequencyWeightedBCELoss', num_classes=72)),
)
# What a method of four views is compared with; ACfs takes this over.
benchmark = dict(tier='joint', title='Four views', views=4, control='four-views')
