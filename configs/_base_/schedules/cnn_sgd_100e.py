# The CNN's fine-tuning, which the paper leaves open: the recipe of ML-GCN (Chen et al., CVPR 2019,
# implementation details; github.com/megvii-research/ML-GCN), which many later papers use with
# ResNet-101. SGD with learning rate 0.01, a tenth of it after 40 and 80 of 100 epochs, momentum
# 0.9, weight decay 1e-4; from the code, a tenth of the learning rate for the pretrained backbone,
# and batch 16.
#
# ML-GCN's loss (MultiLabelSoftMarginLoss) is the mean over the labels, MMPretrain's and ours their
# sum: num_labels times as large. The same steps are then taken with a num_labels-th of the learning
# rate and num_labels times the decay. 80 is MS-COCO's number.
num_labels = 80
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01 / num_labels, momentum=0.9, weight_decay=1e-4 * num_labels),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[40, 80], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
auto_scale_lr = dict(base_batch_size=16)
