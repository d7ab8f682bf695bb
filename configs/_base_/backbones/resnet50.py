# ResNet-50 with torchvision's weights.
backbone = dict(type='ResNet', depth=50, num_stages=4, out_indices=(3,), style='pytorch')
pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet50')
in_channels = 2048
